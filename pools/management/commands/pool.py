"""`manage.py pool list|watch|pause|resume|drain|warm-up|recycle|close-breaker [name]`."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from pools.cloud.account import connect
from pools.cloud.errors import CloudError
from pools.explanation import explain
from pools.management.shell import actor
from pools.marks import ours
from pools.models import ON_THE_WAY, Origin, Pool, Sandbox, State
from pools.operations import POOL_ACTS, Refused
from pools.pool_report import HOURS, report
from pools.usage import arrivals

ACTS = {name.replace("_", "-"): act for name, (_, act) in POOL_ACTS.items()}


class Command(BaseCommand):
    help = "Look at the pools, act on them, or watch one: `pool watch python --minutes 5 --max 1`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["list", "watch", *ACTS])
        parser.add_argument("name", nargs="?", help="the pool; of acts, none means all")
        parser.add_argument("--why", default="from the command line", help="written to the log")
        parser.add_argument("--minutes", type=float, default=5.0, help="watch for so long (5)")
        parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS", help="look that often (10)")
        parser.add_argument("--max", type=int, help="how many apps of ours the cloud may hold (MAX_TOTAL_SANDBOXES)")

    def handle(self, *args: Any, action: str, name: str | None, **options: Any) -> None:
        pools = Pool.objects.filter(name=name) if name else Pool.objects.all()
        if name and not pools.exists():
            raise CommandError(f"There is no pool {name!r}.")
        if action == "list":
            self.show(list(pools))
        elif action == "watch":
            if not name:
                raise CommandError("Say which pool to watch.")
            most = settings.MAX_TOTAL_SANDBOXES if options["max"] is None else options["max"]
            self.watch(pools[0], options["minutes"] * 60, options["every"], most)
        else:
            for pool in pools:
                try:
                    self.stdout.write(ACTS[action](pool, actor=actor(), reason=options["why"]))
                except Refused as error:
                    self.stderr.write(str(error))

    def show(self, pools: list[Pool]) -> None:
        now = timezone.now()
        explanation, came = explain(now), arrivals(now - timedelta(hours=HOURS))
        for pool in pools:
            found = report(pool, explanation, came, now)
            counts = f"{found.ready} ready, {found.creating} creating, {found.in_use} in use"
            sizes = f"target {pool.target_ready} ({pool.min_ready} to {pool.max_ready})"
            self.stdout.write(f"{pool.name} ({pool.mode}): {counts}; {sizes}")
            self.stdout.write(f"  recommended {found.recommendation.target_ready}: {found.recommendation.reason}")
            for step in found.next_steps:
                self.stdout.write(f"  next: {step.kind}: {step.reason}")

    def watch(self, pool: Pool, seconds: float, every: float, most: int) -> None:
        """Print what there is, and raise CommandError at the first sign of sandboxes that nobody wanted."""
        watch = Watch(pool, most)
        until = time.monotonic() + seconds
        while True:
            self.stdout.write(watch.look())
            if time.monotonic() >= until:
                break
            time.sleep(max(0.0, min(every, until - time.monotonic())))
        self.stdout.write(
            f"Well: {watch.made} made for {watch.acquired} acquired, never more than {most} in the cloud."
        )


class Watch:
    """One pool beside the cloud, since a moment."""

    def __init__(self, pool: Pool, most: int) -> None:
        self.pool, self.most = pool, most
        self.since = timezone.now()
        self.made = self.acquired = 0

    def look(self) -> str:
        """A line with the counts. Raises CommandError when there are too many, or when one was made for nobody."""
        now = timezone.now()
        self.pool.refresh_from_db()
        mine = Sandbox.objects.filter(pool=self.pool, origin=Origin.POOL)
        states = list(mine.existing().values_list("state", flat=True))
        in_cloud = self.in_cloud()
        self.made = mine.filter(requested_at__gt=self.since).count()
        self.acquired = mine.filter(acquired_at__gt=self.since).count()
        ready, in_use = states.count(State.READY), states.count(State.IN_USE)
        creating = sum(state in ON_THE_WAY for state in states)
        held = "unknown (not listed)" if in_cloud is None else str(in_cloud)
        line = f"{now:%H:%M:%S}  ready {ready}  creating {creating}  in use {in_use}  in the cloud {held}"
        if in_cloud is not None and in_cloud > self.most:
            raise CommandError(f"{line}\nThe cloud holds {in_cloud} apps of ours; {self.most} are allowed.")
        if unwanted := self.made_for_nobody(now):
            raise CommandError(f"{line}\n{unwanted}")
        return line

    def in_cloud(self) -> int | None:
        """How many apps with our mark the account really has; None when it can't be listed now."""
        try:
            return len(ours(connect().apps()))
        except CloudError:
            return None

    def made_for_nobody(self, now: datetime) -> str:
        """Why what was made since the beginning was not wanted; empty when it was."""
        new = Sandbox.objects.filter(pool=self.pool, origin=Origin.POOL, requested_at__gt=self.since)
        for sandbox in new.order_by("requested_at"):
            earlier = Sandbox.objects.filter(pool=self.pool, origin=Origin.POOL, requested_at__lt=sandbox.requested_at)
            alive = earlier.exclude(delete_requested_at__lte=sandbox.requested_at).exclude(
                acquired_at__lte=sandbox.requested_at
            )
            if not self.pool.wanted(sandbox.requested_at) and alive.count() >= self.pool.min_ready:
                return f"{sandbox.name} was made and nobody had acquired: {sandbox.create_reason}"
        if self.made > self.acquired + self.pool.max_ready:
            return f"{self.made} were made for {self.acquired} acquired: the pool churns"
        return ""
