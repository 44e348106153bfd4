"""`manage.py game add URL`, `update`, `show`, `publish`, `back`: games by the addresses of their git repositories."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django_q.tasks import async_task

from games import versions
from games.git_sources import Address, AddressRefused
from games.models import Game, GameVersion, VersionState
from pools import clock
from pools.console.operations import Refused
from pools.management.shell import actor, unknown
from runs.models import Run, RunEvent

LOOK_SECONDS = 0.3
WAITING = (VersionState.FETCHING, VersionState.FETCHED, VersionState.TRYING)
REASON = "on the command line"


class Command(BaseCommand):
    help = "Add a game by the address of its git repository, try it, publish it, and take it back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        add = acts.add_parser("add", help="fetch it and try it in a sandbox of its own; publish it afterwards")
        add.add_argument("url", help="https://… as `git clone` takes it")
        add.add_argument("--branch", default="", help="else the repository's default")
        add.add_argument("--folder", default="", help="the game's in the repository; else all of it")
        update = acts.add_parser("update", help="fetch the newest commit of a game and try it")
        update.add_argument("game")
        for each in (add, update):
            each.add_argument("--publish", action="store_true", help="publish it when its first page came")
            each.add_argument("--timeout", type=int, default=900, metavar="SECONDS", help="for the trial")
        show = acts.add_parser("show", help="the versions of a game")
        show.add_argument("game")
        publish = acts.add_parser("publish", help="publish a version that was tried: launches get it from now on")
        publish.add_argument("game")
        publish.add_argument("version", nargs="?", default="", help="the beginning of its commit")
        back = acts.add_parser("back", help="publish again what was published before")
        back.add_argument("game")

    def handle(self, *args: Any, act: str, **options: Any) -> None:
        getattr(self, act)(**options)

    def add(self, *, url: str, branch: str, folder: str, **options: Any) -> None:
        try:
            self.ask(Address.of(url, branch, folder), **options)
        except AddressRefused as error:
            raise CommandError(str(error)) from None

    def update(self, *, game: str, **options: Any) -> None:
        published = self.game(game).published
        if published is None or not published.address:
            raise CommandError(f"{game} was not added by an address.")
        self.ask(versions.address(published), **options)

    def ask(self, address: Address, *, publish: bool, timeout: int, **_: Any) -> None:
        version = versions.ask(address, actor=actor(), reason=REASON, now=clock.now())
        async_task("runs.tasks.try_version", version.pk, task_name="try a game", group="games")
        self.stdout.write(f"Fetching {address}...")
        self.follow(version, clock.monotonic() + timeout)
        if version.state != VersionState.TRIED:
            raise CommandError(version.reason or f"It is {version.get_state_display().lower()}.")
        self.stdout.write(f"Its first page came. Play it: {self.page(version)}")
        if publish:
            self.stdout.write(f"{versions.publish(version, actor=actor(), reason=REASON, now=clock.now())}.")
        elif version.game is not None:
            self.stdout.write(f"Publish it with: manage.py game publish {version.game.slug} {version.short}")

    def follow(self, version: GameVersion, give_up_at: float) -> None:
        """Tell the manifest and the log of the trial, as they come. Raises CommandError after that long."""
        told, is_read = 0, False
        while True:
            version.refresh_from_db()
            if version.game is not None and not is_read:
                is_read = True
                given = version.manifest
                self.stdout.write(f"{given['title']}, {given['runtime']}, commit {version.commit}")
                self.stdout.write(f"  install: {given['install_command'] or 'nothing'}\n  run: {given['run_command']}")
            is_over = version.state not in WAITING
            for event in RunEvent.objects.filter(run=version.trial, seq__gt=told).order_by("seq"):
                told = event.seq
                self.stdout.write(event.message)
            self.stdout.flush()
            if is_over:
                return
            if clock.monotonic() > give_up_at:
                raise CommandError("It takes longer: look at it with `manage.py game show`. Is a cluster running?")
            clock.sleep(LOOK_SECONDS)

    def page(self, version: GameVersion) -> str:
        run = Run.objects.filter(pk=version.trial).first() if version.trial else None
        return run.get_absolute_url() if run is not None else "it is over"

    def show(self, *, game: str, **_: Any) -> None:
        for version in self.game(game).versions.all():
            words = [version.short, version.get_state_display(), f"{version.asked_at:%F %T}", version.reason]
            self.stdout.write("  ".join(word for word in words if word))

    def publish(self, *, game: str, version: str, **_: Any) -> None:
        tried = self.game(game).versions.filter(state__in=versions.PUBLISHABLE)
        tried = tried.filter(commit__startswith=version) if version else tried.filter(state=VersionState.TRIED)
        self._publish(tried.first(), f"There is no version {version} of {game} that was tried.".replace("  ", " "))

    def back(self, *, game: str, **_: Any) -> None:
        before = self.game(game).versions.filter(state=VersionState.REPLACED).exclude(address="")
        self._publish(before.order_by("-published_at").first(), f"Nothing of {game} was published before.")

    def _publish(self, version: GameVersion | None, otherwise: str) -> None:
        if version is None:
            raise CommandError(otherwise)
        try:
            self.stdout.write(f"{versions.publish(version, actor=actor(), reason=REASON, now=clock.now())}.")
        except Refused as error:
            raise CommandError(str(error)) from None

    def game(self, slug: str) -> Game:
        found = Game.objects.filter(slug=slug).first()
        if found is None:
            raise unknown("game", slug, Game.objects.values_list("slug", flat=True))
        return found
