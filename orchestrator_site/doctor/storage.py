"""Where snapshots are kept, and where games come from."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from games.manifest import FILE_NAME, ManifestError, read_manifest
from orchestrator_site.doctor.checks import Finding, Seen, well
from orchestrator_site.doctor.codes import Code

WRITTEN = b"written by `manage.py doctor`\n"


def snapshots(_seen: Seen) -> Finding:
    """A small file is written, read and deleted."""
    where = f"the bucket {settings.SPACES['bucket']}" if settings.SPACES["bucket"] else f"{settings.SNAPSHOTS_DIR}"
    try:
        _write_and_delete()
    except OSError as error:
        return Finding(Code.SNAPSHOTS_NOT_WRITABLE, f"{where} can't be written to ({error.strerror or error})")
    except Exception as error:
        if not settings.SPACES["bucket"]:
            raise
        return _of_bucket(where, error)
    return well(f"{where} can be written to")


def _write_and_delete() -> None:
    store = storages["snapshots"]
    key = store.save(f"doctor-{uuid4().hex}", ContentFile(WRITTEN))
    try:
        with store.open(key) as file:
            if file.read() != WRITTEN:
                raise OSError("it gives back something else than was written")
    finally:
        store.delete(key)


def _of_bucket(where: str, error: Exception) -> Finding:
    from botocore.exceptions import BotoCoreError, ClientError  # its library takes a while to load

    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        return Finding(Code.BUCKET_REFUSES, f"{where} refuses us ({said.get('Code')}: {said.get('Message')})")
    if isinstance(error, BotoCoreError):
        return Finding(Code.BUCKET_UNREACHABLE, f"{where} can't be reached: {error}")
    raise error


def catalog(_seen: Seen) -> Finding:
    """The games as their folders have them, whatever the database knows."""
    folder = Path(settings.CATALOG_DIR)
    if not folder.is_dir():
        return Finding(Code.CATALOG_MISSING, f"there is no folder {folder}")
    games = sorted(each for each in folder.iterdir() if (each / FILE_NAME).exists())
    offered = [each for each in games if not settings.AVAILABLE_GAMES or each.name in settings.AVAILABLE_GAMES]
    wrong = list(filter(None, map(_wrong, offered)))
    if len(wrong) == len(offered):
        return Finding(
            Code.CATALOG_EMPTY, f"{folder} has no game that can be offered" + "".join(f"; {w}" for w in wrong)
        )
    if wrong:
        return Finding(Code.MANIFEST_WRONG, "; ".join(wrong))
    return well(f"games: {', '.join(each.name for each in offered)}")


def _wrong(folder: Path) -> str:
    try:
        read_manifest(folder)
    except (ManifestError, OSError) as error:
        return str(error)
    return ""
