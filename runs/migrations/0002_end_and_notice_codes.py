"""Codes beside the sentences of a run's end and notice, and no state "queued", in which no run ever stayed."""

from django.db import migrations, models

END_CODES = [
    ("ended_by_player", "Ended by the player"),
    ("ended_by_api", "Ended through the API"),
    ("ended_by_operator", "Ended by an operator"),
    ("time_up", "Time up"),
    ("no_place", "No place for a sandbox"),
    ("pool_gave_up", "The pool's sandbox did not come"),
    ("sandbox_failed", "The sandbox could not be created"),
    ("deploy_failed", "The deployment failed"),
    ("deploy_interrupted", "The deployment was interrupted twice"),
    ("start_timeout", "Not started in time"),
    ("internal_error", "An error of the orchestrator"),
    ("sandbox_lost", "The sandbox is gone"),
    ("unknown", "Unknown"),
]
NOTICE_CODES = [
    ("no_pool", "No pool of the runtime"),
    ("none_ready", "None was ready"),
    ("none_coming", "None was on its way any more"),
    ("none_alive", "The one that was ready was dead"),
    ("unknown", "Unknown"),
]
# How the sentences of the version before this one begin. Looked at here, once, and never again.
ENDS = {
    "ended": [
        ("Ended by the player.", "ended_by_player"),
        ("Ended through the API.", "ended_by_api"),
        ("An operator ended it", "ended_by_operator"),
        ("Its time was up.", "time_up"),
    ],
    "failed": [
        ("No place for a sandbox", "no_place"),
        ("The sandbox it waited for did not come", "pool_gave_up"),
        ("No sandbox could be had", "sandbox_failed"),
        ("The sandbox is gone", "sandbox_lost"),
        ("The deployment was interrupted twice", "deploy_interrupted"),
        ("Something went wrong here while the game was deployed", "internal_error"),
        ("It did not start within", "start_timeout"),
    ],
}
NOTICES = [
    ("There is no warm pool for", "no_pool"),
    ("No warm sandbox was ready", "none_ready"),
    ("No warm sandbox is on its way any more", "none_coming"),
    ("No other warm sandbox was ready", "none_alive"),
]


def derive_codes(apps, schema_editor):
    runs = apps.get_model("runs", "Run").objects.using(schema_editor.connection.alias).order_by()
    runs.filter(state="queued").update(state="acquiring")
    for state, sentences in ENDS.items():
        for beginning, code in sentences:
            runs.filter(state=state, end_code="", end_reason__startswith=beginning).update(end_code=code)
    runs.filter(state__in=list(ENDS), end_code="").update(end_code="unknown")
    for beginning, code in NOTICES:
        runs.filter(notice_code="", notice__startswith=beginning).update(notice_code=code)
    runs.filter(notice_code="").exclude(notice="").update(notice_code="unknown")
    # PostgreSQL alters no table while checks of foreign keys are pending: they are made now.
    schema_editor.connection.check_constraints()


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="end_code",
            field=models.CharField(blank=True, choices=END_CODES, help_text="Why it is over.", max_length=20),
        ),
        migrations.AddField(
            model_name="run",
            name="notice_code",
            field=models.CharField(
                blank=True, choices=NOTICE_CODES, help_text="Why it was not served as asked.", max_length=20
            ),
        ),
        migrations.RunPython(derive_codes, migrations.RunPython.noop),
        migrations.RemoveConstraint(model_name="run", name="run_state_valid"),
        migrations.AlterField(
            model_name="run",
            name="state",
            field=models.CharField(
                choices=[
                    ("acquiring", "Getting a sandbox"),
                    ("deploying", "Deploying"),
                    ("running", "Running"),
                    ("ended", "Ended"),
                    ("failed", "Failed"),
                ],
                default="acquiring",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="deploy_attempts",
            field=models.PositiveIntegerField(
                default=0,
                help_text="With the sandbox the fencing token of a deployment: who carries an older one is refused.",
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="end_reason",
            field=models.TextField(blank=True, help_text="The same as a sentence for the player."),
        ),
        migrations.AlterField(
            model_name="run",
            name="notice",
            field=models.CharField(blank=True, help_text="The same as a sentence for the player.", max_length=300),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(state__in=["acquiring", "deploying", "running", "ended", "failed"]),
                name="run_state_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["ended", "failed"]), _negated=True)
                | models.Q(("end_code", ""), _negated=True),
                name="run_ended_with_a_code",
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="served_by",
            field=models.CharField(
                blank=True,
                choices=[
                    ("pool", "From the pool"),
                    ("cold_fallback", "Cold, no warm one was free"),
                    ("cold", "Cold, as asked"),
                ],
                max_length=20,
            ),
        ),
    ]
