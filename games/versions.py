"""The versions of a game: asked for by its address, fetched, tried, published, replaced, and published again.

One function a step, each compare-and-set on the version's state, so that of two presses one counts. What is published
changes what the next launch gets; what plays goes on with the version it was started from.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django_q.tasks import async_task

from games import version_sources
from games.git_sources import Address, Fetched, NotFetched, fetched
from games.manifest import Manifest
from games.models import Game, GameVersion, VersionCode, VersionState
from games.source_repositories import SourceRepositoryError
from games.version_sources import SourceUnavailable
from pools import journal
from pools.console.operations import Refused
from pools.models import Level
from pools.reasons import LogKind
from pools.stopping import Stopping

logger = logging.getLogger(__name__)

FETCH_MINUTES = 5  # whoever was fetching for longer has died over it
PUBLISHABLE = (VersionState.TRIED, VersionState.REPLACED)
EVER_PUBLISHED = (VersionState.PUBLISHED, VersionState.REPLACED)


def columns(manifest: Manifest) -> dict[str, Any]:
    """The columns of Game that a manifest gives."""
    return {
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
        "cover": manifest.cover_svg(),
        "position": manifest.position,
    }


def added_by_address() -> QuerySet[GameVersion, Any]:
    """The ids of the games that were ever published by their address."""
    return _published_by_address().exclude(game=None).values("game_id")


def address_of(slug: str) -> str:
    """The address that a game was published by; empty for the catalog's, and where it was only tried."""
    return _published_by_address().filter(game__slug=slug).values_list("address", flat=True).first() or ""


def _published_by_address() -> QuerySet[GameVersion]:
    return GameVersion.objects.filter(state__in=EVER_PUBLISHED).exclude(address="")


def _other_owner(game: Game, version: GameVersion) -> str:
    """Whose the game's name is: that of what was published. Empty where it is this version's address and folder, or
    nobody's: to be tried takes no name."""
    published = game.versions.filter(state__in=EVER_PUBLISHED)
    if published.filter(address=version.address, folder=version.folder).exists():
        return ""
    other = published.first()
    return "" if other is None else other.address or "the catalog"


def of_digest(game: Game, digest: str) -> GameVersion | None:
    """The version of a game that has those files."""
    return game.versions.filter(source_digest=digest).first() if digest else None


def game_of(game: Game, digest: str) -> Game:
    """The game as it was in the version of that digest; as it is now, where none is known."""
    if digest in ("", game.source_digest):
        return game
    version = of_digest(game, digest)
    return game if version is None else as_game(version, game)


def as_game(version: GameVersion, game: Game) -> Game:
    """The game as that version has it, in memory alone."""
    url = version_sources.url_of(game.slug, version.source_digest) if version.address else game.repository_url
    fields = version.manifest | {"repository_url": url, "source_digest": version.source_digest}
    return Game(pk=game.pk, slug=game.slug, enabled=game.enabled, **fields)


# Of the catalog.


def note_catalogs(game: Game, manifest: Manifest, now: datetime) -> None:
    """Needs a transaction. The catalog's folder is what is published, whatever was before."""
    digest, given = manifest.digest, columns(manifest)
    current = game.versions.filter(state=VersionState.PUBLISHED)
    if current.filter(source_digest=digest).exists():
        return
    current.update(state=VersionState.REPLACED)
    fields = {"state": VersionState.PUBLISHED, "published_at": now, "manifest": given, "code": "", "reason": ""}
    fields["address"] = ""  # the same files may have been tried by one
    if not game.versions.filter(source_digest=digest).update(**fields):
        GameVersion.objects.create(game=game, source_digest=digest, asked_at=now, **fields)


def restore_sources() -> list[str]:
    """Put the sources of what is published by address on this machine, at the address that they have by now. What can't
    be had is said."""
    problems = []
    for version in GameVersion.objects.exclude(address="").filter(state=VersionState.PUBLISHED).select_related("game"):
        game = version.game
        if game is None:
            continue
        try:
            version_sources.require_here(game.slug, version.source_digest)
        except SourceUnavailable as error:
            problems.append(f"{game.slug}: {error}")
        url = version_sources.url_of(game.slug, version.source_digest)
        Game.objects.filter(pk=game.pk).exclude(repository_url=url).update(repository_url=url)
    return problems


# Asked for and fetched.


@transaction.atomic
def ask(address: Address, *, actor: str, reason: str, now: datetime) -> GameVersion:
    """A new version of whatever game is at that address, yet to be fetched by a task."""
    version = GameVersion.objects.create(
        address=address.url, branch=address.branch, folder=address.folder, asked_by=actor, asked_at=now
    )
    _note(f"a game at {address} is to be fetched and tried", version, actor=actor, reason=reason, now=now)
    return version


def address(version: GameVersion) -> Address:
    """Raises AddressRefused, where what was allowed once is not by now."""
    return Address.of(version.address, version.branch, version.folder)


def fetch(version: GameVersion, now: datetime) -> bool:
    """Needs FETCHING. Leaves FETCHED, with the game's row, its manifest and its source kept; or FAILED. False when it
    failed, or somebody was first."""
    try:
        with fetched(address(version)) as found:
            _require_name(found.manifest, version)
            version_sources.keep(found.manifest)
            return _note_fetched(version, found)
    except NotFetched as error:
        fail(version, error.code, str(error), now)
    except (SourceRepositoryError, SourceUnavailable, IntegrityError, ValueError) as error:
        fail(version, VersionCode.UNREACHABLE, f"Its source could not be kept: {error}", now)
    except Stopping:
        raise
    except Exception:  # what a stranger has made can go wrong in any way, and the task is not run again
        logger.exception("The source of version %s can't be read.", version.pk)
        fail(version, VersionCode.INTERNAL_ERROR, "Something went wrong here while it was read. It was logged.", now)
    return False


def _require_name(manifest: Manifest, version: GameVersion) -> None:
    """Raises NotFetched when another game has its name, or these files were fetched before."""
    slug = manifest.slug
    game = Game.objects.filter(slug=slug).first()
    if game is not None:
        known = game.versions.exclude(pk=version.pk)
        is_catalogs = game.enabled and game.published is None  # as it was before there were versions
        if whose := "the catalog" if is_catalogs else _other_owner(game, version):
            raise NotFetched(VersionCode.NAME_TAKEN, f"There is a game {slug} already, from {whose}: slugs are unique.")
        if (same := known.filter(source_digest=manifest.digest).first()) is not None:
            state = same.get_state_display().lower()
            raise NotFetched(VersionCode.UNCHANGED, f"Its files are those of {same.short}, which is there: {state}.")
    other = Game.objects.filter(snapshot_name=manifest.snapshot).exclude(slug=slug).first()
    if other is not None:
        sentence = f"Its snapshot is called {manifest.snapshot}, as that of {other.slug} is: these are unique."
        raise NotFetched(VersionCode.NAME_TAKEN, sentence)


@transaction.atomic
def _note_fetched(version: GameVersion, found: Fetched) -> bool:
    given = columns(found.manifest)
    # It can be launched once it is published.
    game, _ = Game.objects.get_or_create(slug=found.manifest.slug, defaults=given | {"enabled": False})
    return _move(
        version,
        frm=[VersionState.FETCHING],
        to=VersionState.FETCHED,
        game=game,
        commit=found.commit,
        source_digest=found.manifest.digest,
        manifest=given,
    )


@transaction.atomic
def fail(version: GameVersion, code: str, reason: str, now: datetime) -> bool:
    """Needs FETCHING or FETCHED. Leaves FAILED with why."""
    before = [VersionState.FETCHING, VersionState.FETCHED]
    if not _move(version, frm=before, to=VersionState.FAILED, code=code, reason=reason):
        return False
    _note(f"{version} can't be tried: {reason}", version, code=code, level=Level.WARNING, now=now)
    return True


# Tried.


def is_stuck(version: GameVersion, now: datetime) -> bool:
    """Whether the task that was to fetch it, or to launch its trial, is gone."""
    is_waiting = version.state in (VersionState.FETCHING, VersionState.FETCHED)
    return is_waiting and version.asked_at < now - timedelta(minutes=FETCH_MINUTES)


@transaction.atomic
def ask_again(version: GameVersion, *, actor: str, reason: str, now: datetime) -> str:
    """Needs FAILED, or one whose task is gone. Leaves it to be tried again, of the same files where they are there.
    Raises Refused."""
    frm = [VersionState.FAILED, *([VersionState(version.state)] if is_stuck(version, now) else [])]
    to = VersionState.FETCHED if version.source_digest else VersionState.FETCHING
    if not _move(version, frm=frm, to=to, code="", reason="", asked_at=now, asked_by=actor):
        raise Refused(f"{version} is {version.get_state_display().lower()}: there is nothing to try again.")
    return _note(f"{version} is tried again", version, actor=actor, reason=reason, now=now)


def begin_trial(version: GameVersion, run_id: UUID) -> bool:
    """Needs FETCHED, and the transaction in which its run begins. Leaves TRYING."""
    return _move(version, frm=[VersionState.FETCHED], to=VersionState.TRYING, trial=run_id)


def end_trial(run_id: UUID, now: datetime, code: str = "", reason: str = "") -> None:
    """Needs TRYING in this run. Leaves TRIED when its first page came; with a code FAILED."""
    version = GameVersion.objects.filter(trial=run_id, state=VersionState.TRYING).select_related("game").first()
    to = VersionState.FAILED if code else VersionState.TRIED
    if version is None or not _move(version, frm=[VersionState.TRYING], to=to, code=code, reason=reason):
        return
    said = f"{version} failed its trial: {reason}" if code else f"{version} was tried: its first page came"
    _note(said, version, code=code, level=Level.WARNING if code else Level.INFO, now=now, run_id=run_id)


# Published.


def require_source(version: GameVersion) -> Game:
    """Have the version's source on this machine, which may take a download, and return its game. Call it in no
    transaction. Raises Refused."""
    game = version.game
    if game is None or not version.address:
        raise Refused(f"{version} is not published by hand: the catalog's folder says what is.")
    try:
        version_sources.require_here(game.slug, version.source_digest)
    except SourceUnavailable as error:
        raise Refused(f"{version} can't be published: {error}.") from None
    return game


def publish(version: GameVersion, *, actor: str, reason: str, now: datetime) -> str:
    """Needs TRIED or REPLACED. Leaves it PUBLISHED, and what was published before REPLACED: the next launch gets it,
    from its snapshot as soon as there is one, which a task sees to. Within a transaction `require_source` comes before
    it. Raises Refused."""
    game = require_source(version)
    return _publish(version, game, actor=actor, reason=reason, now=now)


@transaction.atomic
def _publish(version: GameVersion, game: Game, *, actor: str, reason: str, now: datetime) -> str:
    list(Game.objects.select_for_update(no_key=True).filter(pk=game.pk))  # of two who publish, one after the other
    version.refresh_from_db(fields=["state"])
    if version.state not in PUBLISHABLE:
        raise Refused(f"{version} is {version.get_state_display().lower()}: only what was tried can be published.")
    if whose := _other_owner(game, version):  # published since this one was tried
        raise Refused(f"There is a game {game.slug} by now, from {whose}: slugs are unique.")
    is_back = version.state == VersionState.REPLACED
    game.versions.filter(state=VersionState.PUBLISHED).update(state=VersionState.REPLACED)
    _move(version, frm=[VersionState(version.state)], to=VersionState.PUBLISHED, published_at=now)
    url = version_sources.url_of(game.slug, version.source_digest)
    fields = version.manifest | {"repository_url": url, "source_digest": version.source_digest, "enabled": True}
    Game.objects.filter(pk=game.pk).update(**fields)
    async_task("games.tasks.follow_published", game.pk, task_name="published", group="snapshots")
    done = f"{game.slug} is {'back at' if is_back else 'published at'} {version.short}"
    return _note(done, version, actor=actor, reason=reason, now=now)


# How steps are made.


def _move(version: GameVersion, *, frm: list[VersionState], to: VersionState, **fields: Any) -> bool:
    """Write a step on the row and on the version in hand. False when it is not where the caller believes."""
    same = GameVersion.objects.filter(pk=version.pk, state__in=frm)
    given = {name: value.pk if isinstance(value, Model) else value for name, value in fields.items()}
    if not same.update(state=to, **given):
        version.refresh_from_db()
        return False
    for name, value in {"state": to, **fields}.items():
        setattr(version, name, value)
    return True


def _note(
    said: str,
    version: GameVersion,
    *,
    now: datetime,
    actor: str = "",
    reason: str = "",
    code: str = "",
    level: str = Level.INFO,
    run_id: UUID | None = None,
) -> str:
    """Write it to the orchestrator log. Call it last in the transaction."""
    data = {"game": version.game.slug if version.game else "", "version": version.pk, "commit": version.commit}
    told = f"{said}; an operator: {reason}" if reason else said
    journal.record(LogKind.GAME, told, code=code, actor=actor, level=level, data=data, run_id=run_id, now=now)
    return said
