"""`manage.py pool list|watch|simulate|pause|resume|drain|warm-up|recycle|close-breaker [name]`."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from pools import clock
from pools.churn import Unwanted, Watch
from pools.console.operations import POOL_ACTS, Refused
from pools.console.pool_report import HOURS, report
from pools.management import simulate
from pools.management.shell import actor, unknown
from pools.models import Pool
from pools.occupants import arrivals
from pools.turn.preview import explain

LOOK_SECONDS = 3.0  # how often a watch looks; it prints less often

ACTS = {name.replace("_", "-"): act for name, (_, act) in POOL_ACTS.items()}


class Command(BaseCommand):
    help = (
        "Look at the pools, act on them, watch one: `pool watch python --minutes 5 --max 1`, or replay its launches "
        "with other targets: `pool simulate python --target 1..8`."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["list", "watch", "simulate", *ACTS])
        parser.add_argument("name", nargs="?", help="the pool; of acts, none means all")
        parser.add_argument("--why", default="from the command line", help="written to the log")
        parser.add_argument("--minutes", type=float, default=5.0, help="watch for so long (5)")
        parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS", help="print that often (10)")
        parser.add_argument(
            "--max",
            type=int,
            help="how many apps of ours the cloud may hold beside those that players have (MAX_TOTAL_SANDBOXES); with "
            "those, never more than MAX_TOTAL_SANDBOXES",
        )
        simulate.add_arguments(parser)

    def handle(self, *args: Any, action: str, name: str | None, **options: Any) -> None:
        pools = Pool.objects.filter(name=name) if name else Pool.objects.all()
        if name and not pools.exists():
            raise unknown("pool", name, Pool.objects.values_list("name", flat=True))
        if action == "list":
            self.show(list(pools))
        elif action == "simulate":
            if not name:
                raise CommandError("Say which pool to simulate.")
            for line in simulate.simulate(pools[0], clock.now(), options):
                self.stdout.write(line)
        elif action == "watch":
            if not name:
                raise CommandError("Say which pool to watch.")
            most = settings.MAX_TOTAL_SANDBOXES if options["max"] is None else options["max"]
            self.watch(pools[0], options["minutes"] * 60, options["every"], most)
        else:
            self.act(action, list(pools), options["why"])

    def act(self, action: str, pools: list[Pool], why: str) -> None:
        """Act on each. Raises CommandError when none could be."""
        refused = []
        for pool in pools:
            try:
                self.stdout.write(ACTS[action](pool, actor=actor(), reason=why))
            except Refused as error:
                refused.append(str(error))
        if len(refused) == len(pools):
            raise CommandError("\n".join(refused) or "There are no pools.")
        for message in refused:
            self.stderr.write(message)

    def show(self, pools: list[Pool]) -> None:
        if not pools:
            self.stdout.write("There are no pools.")
        now = clock.now()
        explanation, came = explain(now), arrivals(now - timedelta(hours=HOURS))
        for pool in pools:
            found = report(pool, explanation, came, now)
            counts = f"{found.ready} ready, {found.creating} creating, {found.in_use} in use"
            sizes = f"target {pool.target_ready} ({pool.min_ready} to {pool.max_ready})"
            self.stdout.write(f"{pool.name} ({pool.mode}): {counts}; {sizes}")
            self.stdout.write(f"  recommended {found.recommendation.target_ready}: {found.recommendation.reason}")
            for step in found.next_steps:
                self.stdout.write(f"  next: {step.kind}: {step.reason}")
        if pools:
            self.stdout.write(explanation.totals.sentence(now))

    def watch(self, pool: Pool, seconds: float, every: float, most: int) -> None:
        """Print what there is, and raise CommandError at the first sign of sandboxes that nobody wanted."""
        watch = Watch(pool, most)
        print_at = clock.monotonic()
        until = print_at + seconds
        while True:
            try:
                line = watch.look()
            except Unwanted as error:
                raise CommandError(str(error)) from None
            now = clock.monotonic()
            if now >= print_at or now >= until:
                self.stdout.write(line)
                self.stdout.flush()  # into a pipe or a file, too
                print_at = now + every
            if now >= until:
                break
            clock.sleep(max(0.0, min(LOOK_SECONDS, print_at - now, until - now)))
        if watch.known is None:
            raise CommandError("The cloud could not be listed even once: nothing is proved.")
        self.stdout.write(f"Well: {watch.made} made for {watch.acquired} acquired, never too many in the cloud.")
