from django.db import migrations, models

import pools.models


class Migration(migrations.Migration):
    dependencies = [("pools", "0005_ended_with_a_code")]
    operations = [
        migrations.AddField(
            model_name="cloudapp",
            name="adopted_at",
            field=models.DateTimeField(
                blank=True, help_text="When an operator said that it is ours, whatever its mark says.", null=True
            ),
        ),
        migrations.AddField(
            model_name="cloudapp",
            name="installation",
            field=models.CharField(
                blank=True, help_text="The database that it belongs to; empty when its spec names none.", max_length=64
            ),
        ),
        migrations.AddField(
            model_name="fleet",
            name="installation",
            field=models.CharField(
                default=pools.models.new_installation,
                editable=False,
                help_text="Made once in each database, and set in each app: databases with one ORCHESTRATOR_ID differ by it.",
                max_length=32,
            ),
        ),
        migrations.AddField(
            model_name="fleet",
            name="others",
            field=models.PositiveIntegerField(
                default=0,
                help_text="How many apps the last listing showed that carry our mark and are another installation's.",
            ),
        ),
        migrations.AddField(
            model_name="sandbox",
            name="known_app_id",
            field=models.CharField(
                blank=True,
                help_text="Its app's id once a listing, or the app, showed our name and mark under it.",
                max_length=64,
            ),
        ),
    ]
