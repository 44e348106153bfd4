"""Rows from before codes were kept have only sentences: here they are read, once, for the codes that they stand for."""

from django.db import migrations

# How each sentence began, and the code that it stands for; the first that fits counts.
ENDS = [
    ("idle: ", "idle"),
    ("outdated (recycled", "recycled"),
    ("outdated", "outdated"),
    ("lost: ", "lost"),
    ("its agent did not answer", "unwell"),
    ("its lifetime ended", "expired"),
    ("its pool was deleted", "pool_deleted"),
    ("run ", "run_over"),
    ("makes room for a launch", "made_room"),
    ("dead at hand-over", "dead_at_hand_over"),
    ("done: ", "build_done"),
    ("the fleet holds", "fleet_surplus"),
    ("its deployment ended in", "deployment_failed"),
    ("DigitalOcean refuses the orchestrator's token", "token_refused"),
    ("DigitalOcean refused it", "refused"),
    ("DigitalOcean did not accept it", "not_accepted"),
    ("its name is taken", "never_listed"),
    ("an app that is not ours has the name", "name_taken"),
    ("staging did not finish", "staging_failed"),
    ("retired by an operator", "retired"),
    ("force delete by an operator: sweep", "swept"),
    ("force delete by an operator", "force_deleted"),
    ("swept by an operator", "swept"),
]


def create_code(sandbox):
    reason = sandbox.create_reason
    if sandbox.origin == "cold":
        for beginning, code in (
            ("cold, as asked", "cold"),
            ("cold, for want of", "cold_fallback"),
            ("build ", "build"),
        ):
            if reason.startswith(beginning):
                return code
        return "unknown"
    if " waiting" in reason:
        return "waiting"
    if "idle floor" in reason:
        return "idle_floor"
    return "demand" if "last acquired" in reason else "unknown"


def end_code(reason):
    if reason.startswith("pool "):
        return "draining" if "is draining" in reason else "pool_surplus"
    if reason.startswith("not healthy after"):
        return "agent_silent" if "its agent never answered" in reason else "timed_out"
    return next((code for beginning, code in ENDS if reason.startswith(beginning)), "unknown")


def give_codes(apps, schema_editor):
    rows = apps.get_model("pools", "Sandbox").objects
    changed = []
    for sandbox in rows.only("origin", "create_reason", "end_reason", "state").iterator():
        sandbox.create_code = create_code(sandbox)
        ended = sandbox.state in ("deleting", "deleted")
        sandbox.end_code = end_code(sandbox.end_reason) if ended else ""
        changed.append(sandbox)
        if len(changed) == 500:
            rows.bulk_update(changed, ["create_code", "end_code"])
            changed = []
    rows.bulk_update(changed, ["create_code", "end_code"])
    fleet = apps.get_model("pools", "Fleet").objects
    fleet.exclude(listing_error="").update(listing_code="unavailable")
    fleet.exclude(token_refused_at=None).update(listing_code="unauthorized")


class Migration(migrations.Migration):
    dependencies = [("pools", "0003_reason_codes")]
    operations = [migrations.RunPython(give_codes, migrations.RunPython.noop)]
