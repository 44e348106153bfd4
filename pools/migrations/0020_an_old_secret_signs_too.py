from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0019_webhooks"),
    ]

    operations = [
        migrations.AddField(
            model_name="webhook",
            name="old_secret",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=100),
        ),
        migrations.AddField(
            model_name="webhook",
            name="old_secret_until",
            field=models.DateTimeField(blank=True, help_text="Until then the old one signs, too.", null=True),
        ),
    ]
