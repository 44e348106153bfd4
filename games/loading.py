"""The catalog's folders become Game rows: what a manifest says wins over what the row said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import transaction

from games.clones import clone_url
from games.manifest import FILE_NAME, Manifest, ManifestError, read_manifest
from games.models import Game
from games.source_repositories import SourceRepositoryError, publish


@dataclass
class Loaded:
    """The outcome of a load: the slugs that are new, changed, unchanged or gone, and the problems with the others."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def load_catalog(catalog: Path | None = None) -> Loaded:
    """Make a Game of every folder that has a manifest. A bad one is reported and hides no other; a game whose folder
    is gone, or that AVAILABLE_GAMES leaves out, can't be launched any more, and keeps its runs."""
    catalog = catalog or settings.CATALOG_DIR
    loaded = Loaded()
    if not catalog.is_dir():
        loaded.problems.append(f"{catalog}: there is no such folder; CATALOG_DIR names the catalog's")
        return loaded
    seen = set()
    offered = set(settings.AVAILABLE_GAMES)
    for folder in sorted(path for path in catalog.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))):
        if not (folder / FILE_NAME).exists() or (offered and folder.name not in offered):
            continue
        seen.add(folder.name)
        try:
            manifest = read_manifest(folder)
            local_url = publish(manifest, settings.GAME_REPOSITORIES_DIR)
            _load(manifest, local_url if settings.CLOUD_IS_EMBEDDED else clone_url(manifest.slug), loaded)
        except (ManifestError, SourceRepositoryError) as error:
            loaded.problems.append(str(error))
    for slug in sorted(offered - seen):
        loaded.problems.append(f"AVAILABLE_GAMES names {slug}, but there is no such game in {catalog}")
    gone = Game.objects.playable().exclude(slug__in=seen)
    loaded.gone = list(gone.values_list("slug", flat=True))
    gone.update(enabled=False)
    return loaded


@transaction.atomic
def _load(manifest: Manifest, repository_url: str, loaded: Loaded) -> None:
    other = Game.objects.filter(snapshot_name=manifest.snapshot).exclude(slug=manifest.slug).first()
    if other is not None:
        file = manifest.folder / FILE_NAME
        raise ManifestError(file, [f"snapshot is {manifest.snapshot!r}, which {other.slug} has; it must be unique"])
    fields = {
        "title": manifest.title,
        "tagline": manifest.tagline,
        "description": manifest.description,
        "how_to_play": manifest.how_to_play,
        "runtime": manifest.runtime,
        "port": manifest.port,
        "install_command": manifest.install_command,
        "run_command": manifest.run,
        "health_path": manifest.health,
        "snapshot_name": manifest.snapshot,
        "repository_url": repository_url,
        "source_digest": manifest.digest,
        "cover": manifest.cover_svg(),
        "position": manifest.position,
        "enabled": True,
    }
    game = Game.objects.filter(slug=manifest.slug).first()
    if game is None:
        Game.objects.create(slug=manifest.slug, **fields)
        loaded.added.append(manifest.slug)
    elif any(getattr(game, name) != value for name, value in fields.items()):
        Game.objects.filter(pk=game.pk).update(**fields)
        loaded.changed.append(manifest.slug)
    else:
        loaded.unchanged.append(manifest.slug)
