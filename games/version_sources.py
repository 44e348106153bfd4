"""The source of a version that was added by its address: kept beside the snapshots, so that it is there when its
address is not, and put on any machine as a repository of its own, from which sandboxes clone it."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.urls import reverse

from games import snapshots
from games.git_sources import MOST_PACK_BYTES
from games.manifest import Manifest
from games.models import GameVersion
from games.source_repositories import BRANCH, SourceRepositoryError, publish, run

DIGITS = 12  # of a digest, in a repository's name
REFS = "/info/refs"
NAME = re.compile(rf"(?P<slug>[a-z0-9-]+)--(?P<digest>[0-9a-f]{{{DIGITS}}})")  # no slug has two hyphens in a row


class SourceUnavailable(Exception):
    """The source of a version can't be had now; the message says why."""


def name_of(slug: str, digest: str) -> str:
    return f"{slug}--{digest[:DIGITS]}"


def _key(slug: str, digest: str) -> str:
    return f"sources/{slug}/{digest}.bundle"


def _repository(slug: str, digest: str) -> Path:
    return Path(settings.GAME_REPOSITORIES_DIR).absolute() / f"{name_of(slug, digest)}.git"


def keep(manifest: Manifest) -> None:
    """Keep a game's files as they are now. Raises SourceRepositoryError, SourceUnavailable."""
    publish(manifest, settings.GAME_REPOSITORIES_DIR, name_of(manifest.slug, manifest.digest))
    key, store = _key(manifest.slug, manifest.digest), snapshots.storage()
    try:
        if not store.exists(key):
            with tempfile.TemporaryDirectory(prefix="game-bundle-") as folder:
                bundle = Path(folder) / "bundle"
                run(
                    _repository(manifest.slug, manifest.digest),
                    "bundle",
                    "create",
                    "--quiet",
                    str(bundle),
                    "HEAD",
                    BRANCH,
                )
                with bundle.open("rb") as file:
                    store.save(key, File(file, name=key))
    except SourceRepositoryError:
        raise
    except Exception as error:  # each storage has errors of its own
        raise SourceUnavailable(f"it could not be kept in the storage ({type(error).__name__})") from error


def url_of(slug: str, digest: str) -> str:
    """Return the address from which a sandbox clones that version."""
    if settings.CLOUD_IS_EMBEDDED:
        return _repository(slug, digest).as_uri()
    path = reverse("source-refs", args=[name_of(slug, digest)])
    return settings.PUBLIC_URL.rstrip("/") + path.removesuffix(REFS)


def require_here(slug: str, digest: str) -> None:
    """Put the version's repository on this machine, if it is not there. Raises SourceUnavailable."""
    repository = _repository(slug, digest)
    if repository.is_dir():
        return
    try:
        repository.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{repository.name}-", dir=repository.parent) as folder:
            bundle, aside = Path(folder) / "bundle", Path(folder) / "repository"
            with bundle.open("wb") as file:
                for piece in snapshots.pieces_of(_key(slug, digest), MOST_PACK_BYTES):
                    file.write(piece)
            run(None, "clone", "--quiet", "--bare", "--template=", "--", str(bundle), str(aside))
            aside.chmod(0o755)
            try:
                aside.rename(repository)
            except OSError:
                if not repository.is_dir():  # somebody else has put it there at this moment
                    raise
    except Exception as error:  # each storage has errors of its own
        raise SourceUnavailable(f"its source can't be had ({type(error).__name__}: {error})") from error


def found_here(name: str) -> bool:
    """Whether a repository of that name, as a client asks for it, is a version's; it is on this machine then."""
    parts = NAME.fullmatch(name)
    if parts is None:
        return False
    kept = GameVersion.objects.exclude(address="").filter(game__slug=parts["slug"])
    digest = kept.filter(source_digest__startswith=parts["digest"]).values_list("source_digest", flat=True).first()
    if digest is None:
        return False
    try:
        require_here(parts["slug"], digest)
    except SourceUnavailable:
        return False
    return True


def forget(slug: str, digest: str) -> None:
    """Delete the repository on this machine; what is kept stays."""
    shutil.rmtree(_repository(slug, digest), ignore_errors=True)
