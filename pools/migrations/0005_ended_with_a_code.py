from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pools", "0004_codes_of_old_rows")]

    operations = [
        migrations.AddConstraint(
            model_name="sandbox",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "create_code__in",
                        ["demand", "waiting", "idle_floor", "cold", "cold_fallback", "build", "unknown"],
                    )
                ),
                name="sandbox_create_code_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="sandbox",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "end_code__in",
                        [
                            "",
                            "idle",
                            "outdated",
                            "recycled",
                            "pool_surplus",
                            "fleet_surplus",
                            "draining",
                            "pool_deleted",
                            "made_room",
                            "expired",
                            "run_over",
                            "dead_at_hand_over",
                            "build_done",
                            "unwell",
                            "lost",
                            "name_taken",
                            "token_refused",
                            "refused",
                            "not_accepted",
                            "never_listed",
                            "deployment_failed",
                            "timed_out",
                            "agent_silent",
                            "staging_failed",
                            "retired",
                            "force_deleted",
                            "swept",
                            "unknown",
                        ],
                    )
                ),
                name="sandbox_end_code_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="sandbox",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["deleting", "deleted"]), _negated=True),
                    models.Q(("end_code", ""), _negated=True),
                    _connector="OR",
                ),
                name="sandbox_ended_with_a_code",
            ),
        ),
    ]
