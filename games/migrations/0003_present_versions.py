"""Each game that exists has its present version."""

from django.db import migrations
from django.utils import timezone

COLUMNS = (
    "title",
    "tagline",
    "description",
    "how_to_play",
    "runtime",
    "port",
    "install_command",
    "run_command",
    "health_path",
    "snapshot_name",
    "cover",
    "position",
)


def keep_present_versions(apps, schema_editor):
    now = timezone.now()
    for game in apps.get_model("games", "Game").objects.filter(versions=None):
        apps.get_model("games", "GameVersion").objects.create(
            game=game,
            state="published",
            source_digest=game.source_digest,
            manifest={name: getattr(game, name) for name in COLUMNS},
            asked_at=now,
            published_at=now,
        )


class Migration(migrations.Migration):
    dependencies = [("games", "0002_versions")]
    operations = [migrations.RunPython(keep_present_versions, migrations.RunPython.noop)]
