from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orchestrator_site", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="beat",
            name="clock_ahead_seconds",
            field=models.FloatField(default=0, help_text="By how much its machine's clock is ahead of the database's."),
        ),
    ]
