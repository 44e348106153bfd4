from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0009_usage_days"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="warned_of",
            field=models.DateTimeField(
                blank=True, editable=False, help_text="The end that it was said to be near to.", null=True
            ),
        ),
    ]
