from django.conf import settings
from django.db import migrations, models

import pools.agent_keys


def note_former_key(apps, schema_editor):
    """Versions before took a line break at the end of the kept key for a part of it: sandboxes were made under that."""
    for key in settings.SECRET_KEY_FALLBACKS:
        if key != key.strip() == settings.SECRET_KEY:
            apps.get_model("pools", "Sandbox").objects.update(token_key=pools.agent_keys.fingerprint(key))


class Migration(migrations.Migration):
    dependencies = [("pools", "0007_codes_of_ownership")]
    operations = [
        migrations.AddField(
            model_name="fleet",
            name="key_fingerprint",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="The fingerprint of the SECRET_KEY that this database was used with last.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="sandbox",
            name="token_key",
            field=models.CharField(
                default=pools.agent_keys.current,
                editable=False,
                help_text="The fingerprint of the SECRET_KEY that it was made under.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="sandbox",
            name="trouble_code",
            field=models.CharField(
                blank=True,
                help_text="What went wrong when its agent was asked last, as the code of an error.",
                max_length=20,
            ),
        ),
        migrations.RunPython(note_former_key, migrations.RunPython.noop),
    ]
