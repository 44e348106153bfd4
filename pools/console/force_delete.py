"""Deleting what an operator has picked, now and until it is gone: at once as far as the cloud lets us, then in each
turn by the reconciler, from the reason that is written first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from pools import claims, journal
from pools.cloud.app_platform import AppPlatform
from pools.console.fleet_page import picture
from pools.console.fleet_table import Row
from pools.models import LIVE, CloudApp, Level, Sandbox, State
from pools.nudge import nudge
from pools.shared_budget import counted
from pools.turn.act import ask_all

GONE = "it was gone already"
AT_ONCE_MOST = 50  # an operator waits for these; the next turns send the others


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one that was picked. `is_ordered`: it goes, now or later; else `message` says why it does not."""

    key: str
    name: str
    is_ordered: bool
    message: str
    app_id: str = ""


def force_delete(
    keys: Sequence[str], *, actor: str, reason: str, typed_names: Mapping[str, str] | None = None
) -> list[Outcome]:
    """Delete the rows of these keys (`Row.key`). A foreign app goes only with its name in `typed_names`, by key.

    One that fails does not stop the others. Each order is written before the cloud is asked, outside of any
    transaction, so that it is carried out whatever happens to this process.
    """
    rows = picture(timezone.now()).by_key()
    tracked = {f"app:{row.app_id}": row.name for row in rows.values() if row.sandbox is not None}
    outcomes: dict[str, Outcome] = {}
    sent: list[Outcome] = []
    for key in dict.fromkeys(keys):
        row = rows.get(key)
        if key in tracked:
            outcomes[key] = Outcome(key, tracked[key], False, "it is a sandbox of ours by now: pick that if it must go")
        elif row is None or (row.sandbox is not None and row.sandbox.state == State.DELETED):
            outcomes[key] = Outcome(key, row.name if row else key.partition(":")[2], False, GONE)
        elif row.is_foreign and (typed_names or {}).get(key) != row.name:
            outcomes[key] = Outcome(key, row.name, False, f"it is foreign, and its name was not typed: {row.name}")
        else:
            outcomes[key] = _order(row, actor, reason)
            if outcomes[key].is_ordered and outcomes[key].app_id:
                sent.append(outcomes[key])
    if sent:
        with counted() as cloud:
            outcomes |= {outcome.key: outcome for outcome in _send(cloud, sent[:AT_ONCE_MOST], actor)}
    nudge()
    return list(outcomes.values())


@transaction.atomic
def _order(row: Row, actor: str, reason: str) -> Outcome:
    """Write down that it goes. From here on the reconciler deletes it in each turn until it is gone."""
    now, why = timezone.now(), f"force delete by an operator: {reason}"
    later = "ordered; the next turn sends it"
    if row.sandbox is not None:
        claims.retire(row.sandbox.pk, why, now, frm=LIVE, actor=actor, level=Level.WARNING)
        sandbox = Sandbox.objects.get(pk=row.sandbox.pk)
        if sandbox.state == State.DELETED:
            return Outcome(row.key, row.name, False, GONE)
        if sandbox.end_reason != why:  # it was going already: the order is noted all the same
            journal.record("delete", why, sandbox=sandbox, now=now, actor=actor, level=Level.WARNING)
        return Outcome(row.key, row.name, True, later, sandbox.app_id or "")
    if not CloudApp.objects.filter(pk=row.app_id).update(delete_reason=why):
        return Outcome(row.key, row.name, False, GONE)
    journal.record("delete", why, name=row.name, app_id=row.app_id, now=now, actor=actor, level=Level.WARNING)
    return Outcome(row.key, row.name, True, later, row.app_id)


def _send(cloud: AppPlatform, ordered: Sequence[Outcome], actor: str) -> list[Outcome]:
    _note_sent([outcome.app_id for outcome in ordered], timezone.now())
    outcomes = []
    for order, answer in ask_all(lambda each: cloud.delete(each.app_id), ordered):
        if isinstance(answer, Exception):
            message = f"ordered, not deleted yet: {answer} It is repeated until it is gone."
            kind, level = "trouble", Level.WARNING
        else:
            message = "deleted" if answer else GONE
            kind, level = "deleted", Level.INFO
        journal.record(kind, message, name=order.name, app_id=order.app_id, actor=actor, level=level)
        outcomes.append(Outcome(order.key, order.name, True, message, order.app_id))
    return outcomes


def _note_sent(app_ids: Sequence[str], now: datetime) -> None:
    Sandbox.objects.filter(app_id__in=app_ids, state=State.DELETING).update(delete_sent_at=now)
    CloudApp.objects.filter(pk__in=app_ids).exclude(delete_reason="").update(delete_sent_at=now)


def ours(rows: Sequence[Row]) -> list[Row]:
    """What a sweep deletes: everything that carries our mark or has a row of ours, and nothing foreign."""
    return [row for row in rows if not row.is_foreign and not (row.sandbox and row.sandbox.state == State.DELETED)]
