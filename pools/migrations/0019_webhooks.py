import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0018_acts_by_index"),
    ]

    operations = [
        migrations.CreateModel(
            name="RaisedAlarm",
            fields=[
                (
                    "subject",
                    models.CharField(
                        help_text="Its code, and the pool that it is about.",
                        max_length=80,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "code",
                    models.CharField(
                        choices=[
                            ("token_refused", "DigitalOcean refuses the token"),
                            ("listing_fails", "DigitalOcean can't be listed"),
                            ("turns_die", "Turns end in an error"),
                            ("deletions_stopped", "Deletions wait for an operator"),
                            ("deletions_fail", "Nothing can be deleted"),
                            ("orphans", "Apps carry our mark, and are in no record"),
                            ("breaker_open", "A pool creates nothing after failures"),
                        ],
                        max_length=30,
                    ),
                ),
                ("pool_name", models.CharField(blank=True, max_length=40)),
                ("raised_at", models.DateTimeField()),
            ],
        ),
        migrations.AlterField(
            model_name="fleetevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("create", "Create"),
                    ("accepted", "Accepted"),
                    ("ready", "Ready"),
                    ("acquire", "Acquire"),
                    ("delete", "Delete"),
                    ("deleted", "Deleted"),
                    ("hold", "Hold"),
                    ("stop", "Stop"),
                    ("go", "Go"),
                    ("orphan", "Orphan"),
                    ("trouble", "Trouble"),
                    ("listing", "Listing"),
                    ("stage", "Stage"),
                    ("snapshot", "Snapshot"),
                    ("launch", "Launch"),
                    ("run", "Run"),
                    ("pool", "Pool"),
                    ("turn", "Turn"),
                    ("look", "Look"),
                    ("maintenance", "Maintenance"),
                    ("sweep", "Sweep"),
                    ("end", "End by an operator"),
                    ("extend", "Extension by an operator"),
                    ("resubmit", "Task queued again by an operator"),
                    ("sign_in", "Sign-in"),
                    ("key", "API key"),
                    ("webhook", "Webhook"),
                    ("alarm", "Alarm"),
                    ("all_clear", "All clear"),
                ],
                max_length=30,
            ),
        ),
        migrations.CreateModel(
            name="Courier",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("called_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("pk", 1)), name="courier_is_one_row")],
            },
        ),
        migrations.CreateModel(
            name="Webhook",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("url", models.CharField(max_length=500)),
                (
                    "owner",
                    models.CharField(
                        db_index=True, help_text="A key, as key:<prefix>, or an operator.", max_length=150
                    ),
                ),
                (
                    "is_of_all",
                    models.BooleanField(
                        default=False, help_text="Told of everything, and not of its owner's runs alone."
                    ),
                ),
                (
                    "types",
                    models.JSONField(
                        blank=True, default=list, help_text="The events that it wants; all when there are none."
                    ),
                ),
                ("description", models.CharField(blank=True, max_length=200)),
                ("secret", models.CharField(editable=False, max_length=100)),
                ("is_enabled", models.BooleanField(default=True)),
                (
                    "disabled_code",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("switched_off", "Switched off"),
                            ("gone", "Its receiver answered 410"),
                            ("given_up", "Too many deliveries were given up"),
                            ("owner_gone", "Its owner may not have it any more"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "seq",
                    models.PositiveBigIntegerField(
                        help_text="The last line of the orchestrator log that was looked at for it."
                    ),
                ),
                (
                    "given_up",
                    models.PositiveIntegerField(
                        default=0, help_text="Deliveries given up since the last that was taken."
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=150)),
                ("last_success_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["-created_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("disabled_code", ""), ("is_enabled", True)),
                            models.Q(("is_enabled", False), models.Q(("disabled_code", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="webhook_disabled_with_a_code",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("number", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "id",
                    models.CharField(
                        editable=False, help_text="The same however often it is sent.", max_length=40, unique=True
                    ),
                ),
                (
                    "seq",
                    models.PositiveBigIntegerField(
                        blank=True, help_text="The event's line; none for a test.", null=True
                    ),
                ),
                ("type", models.CharField(max_length=40)),
                ("payload", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Not tried yet"),
                            ("failed", "Failed, and is tried again"),
                            ("delivered", "Delivered"),
                            ("given_up", "Given up"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True)),
                (
                    "last_status",
                    models.PositiveIntegerField(blank=True, help_text="Empty when it did not answer.", null=True),
                ),
                ("last_error", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(db_index=True)),
                ("delivered_at", models.DateTimeField(blank=True, null=True)),
                (
                    "webhook",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="pools.webhook"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["-number"],
                "indexes": [models.Index(fields=["webhook", "state", "number"], name="delivery_next")],
                "constraints": [
                    models.UniqueConstraint(fields=("webhook", "seq"), name="delivery_once"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["pending", "failed", "delivered", "given_up"])),
                        name="delivery_state_valid",
                    ),
                ],
            },
        ),
    ]
