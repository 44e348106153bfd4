"""The catalog's folders become Game rows: what a manifest says wins over what the row said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import transaction

from games import versions
from games.clones import clone_url
from games.manifest import FILE_NAME, Manifest, ManifestError, read_manifest
from games.models import Game
from games.source_repositories import SourceRepositoryError, publish
from pools import clock


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
    is gone, or that AVAILABLE_GAMES leaves out, can't be launched any more, and keeps its runs. Games that were added
    by their address stay, with their sources put in place."""
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
    loaded.problems += versions.restore_sources()
    gone = Game.objects.playable().exclude(slug__in=seen).exclude(pk__in=versions.added_by_address())
    loaded.gone = list(gone.values_list("slug", flat=True))
    gone.update(enabled=False)
    return loaded


@transaction.atomic
def _load(manifest: Manifest, repository_url: str, loaded: Loaded) -> None:
    file = manifest.folder / FILE_NAME
    other = Game.objects.filter(snapshot_name=manifest.snapshot).exclude(slug=manifest.slug).first()
    if other is not None:
        raise ManifestError(file, [f"snapshot is {manifest.snapshot!r}, which {other.slug} has; it must be unique"])
    if address := versions.address_of(manifest.slug):
        raise ManifestError(file, [f"slug is {manifest.slug!r}, which the game from {address} has; it must be unique"])
    fields = versions.columns(manifest) | {
        "repository_url": repository_url,
        "source_digest": manifest.digest,
        "enabled": True,
    }
    game = Game.objects.filter(slug=manifest.slug).first()
    if game is None:
        game = Game.objects.create(slug=manifest.slug, **fields)
        loaded.added.append(manifest.slug)
    elif any(getattr(game, name) != value for name, value in fields.items()):
        Game.objects.filter(pk=game.pk).update(**fields)
        loaded.changed.append(manifest.slug)
    else:
        loaded.unchanged.append(manifest.slug)
    versions.note_catalogs(game, manifest, clock.now())
