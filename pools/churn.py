"""One pool beside the cloud, for a while: are there sandboxes that nobody wanted? The proof that it does not churn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from pools import clock
from pools.cloud.errors import CloudError
from pools.cloud.records import App
from pools.models import ON_THE_WAY, Origin, Pool, Sandbox, State
from pools.ownership import ours
from pools.reasons import REPLACED
from pools.shared_budget import counted

DELETION_SECONDS = 60  # what is being deleted for longer counts as still there


class Unwanted(Exception):
    """There is what should not be; `str(error)` says what."""


class Watch:
    """A watch over one pool. The cloud may hold `most` apps of ours besides those that players have."""

    def __init__(self, pool: Pool, most: int) -> None:
        self.pool, self.most = pool, most
        self.since = clock.now()
        self.made = self.acquired = 0
        self.known: set[str] | None = None  # our apps of the first listing

    def look(self) -> str:
        """A line with the counts. Raises Unwanted when there are too many, or when one was made for nobody."""
        apps = self._listed()
        now = clock.now()  # rows are read after the listing: an app's row is written before the app is asked for
        self.pool.refresh_from_db()
        line = self._line(apps, now)
        mine = Sandbox.objects.filter(pool=self.pool, origin=Origin.POOL)
        self.made = mine.filter(requested_at__gt=self.since).count()
        self.acquired = mine.filter(acquired_at__gt=self.since).count()
        troubles = [*self._too_many(apps, now)] if apps is not None else []
        for trouble in (*troubles, *self._made_for_nobody()):
            raise Unwanted(f"{line}\n{trouble}")
        return line

    def _listed(self) -> list[App] | None:
        """The apps with our mark that the account really has; None when it can't be listed now."""
        try:
            with counted() as cloud:
                return ours(cloud.apps())
        except CloudError:
            return None

    def _line(self, apps: Sequence[App] | None, now: datetime) -> str:
        rows = Sandbox.objects.existing().filter(runtime=self.pool.runtime)  # launches that start cold are in it
        states = list(rows.values_list("state", flat=True))
        ready, in_use, deleting = (states.count(state) for state in (State.READY, State.IN_USE, State.DELETING))
        creating = sum(state in ON_THE_WAY for state in states)
        held = "unknown (it can't be listed)" if apps is None else str(len(apps))
        more = f"  deleting {deleting}" if deleting else ""
        return f"{now:%H:%M:%S}  ready {ready}  creating {creating}  in use {in_use}{more}  in the cloud {held}"

    def _too_many(self, apps: Sequence[App], now: datetime) -> Iterator[str]:
        rows = Sandbox.objects.filter(name__in=[app.name for app in apps])
        tracked = set(rows.values_list("name", flat=True))
        if self.known is None:
            self.known = {app.id for app in apps}
        strangers = [app for app in apps if app.name not in tracked and app.id not in self.known]
        if strangers := self._confirmed(strangers):
            yield f"{strangers[0].name} was made, but we have no record of it: nobody had acquired."
        if len(apps) > settings.MAX_TOTAL_SANDBOXES and len(apps := self._confirmed(apps)) > (
            settings.MAX_TOTAL_SANDBOXES
        ):
            yield f"The cloud holds {len(apps)} apps of ours; MAX_TOTAL_SANDBOXES is {settings.MAX_TOTAL_SANDBOXES}."
        with_players = Q(acquired_at__isnull=False) | Q(origin=Origin.COLD)
        going = Q(state=State.DELETING, delete_requested_at__gt=now - timedelta(seconds=DELETION_SECONDS))
        elsewhere = Q(pool__isnull=False) & ~Q(pool=self.pool)
        excused = set(rows.existing().filter(with_players | going | elsewhere).values_list("name", flat=True))
        spare = [app for app in apps if app.name not in excused]
        if len(spare) > self.most and len(spare := self._confirmed(spare)) > self.most:
            yield f"The cloud holds {len(spare)} apps of ours that no player has; {self.most} are allowed."

    def _confirmed(self, apps: Sequence[App]) -> list[App]:
        """Those that exist by the cloud's own word: listings may lag."""
        found = []
        for app in apps:
            try:
                with counted() as cloud:
                    exists = cloud.get(app.id) is not None
            except CloudError:
                exists = True
            if exists:
                found.append(app)
        return found

    def _made_for_nobody(self) -> Iterator[str]:
        """Yield a sentence for each sandbox made since the beginning that nobody wanted."""
        mine = Sandbox.objects.filter(pool=self.pool, origin=Origin.POOL)
        new = list(mine.filter(requested_at__gt=self.since).order_by("requested_at"))
        for sandbox in new:
            if self.pool.wanted(sandbox.requested_at):
                continue
            floor = [other for other in mine if self._was_fresh(other, sandbox.requested_at)]
            if len(floor) >= self.pool.min_ready:
                yield f"{sandbox.name} was made and nobody had acquired: {sandbox.create_reason}"
        failed = sum(bool(sandbox.failure_kind) for sandbox in new)
        replaced = mine.filter(end_code__in=REPLACED, delete_requested_at__gt=self.since).count()
        if len(new) - failed > self.acquired + replaced + self.pool.max_ready:
            yield f"{len(new)} were made for {self.acquired} acquired: the pool churns."

    def _was_fresh(self, sandbox: Sandbox, at: datetime) -> bool:
        """Whether the pool had it at that moment, and did not want it replaced."""
        if sandbox.requested_at >= at or (self.pool.recycle_before and sandbox.requested_at < self.pool.recycle_before):
            return False
        if any(moment is not None and moment <= at for moment in (sandbox.acquired_at, sandbox.delete_requested_at)):
            return False
        oldest = at - timedelta(seconds=self.pool.max_warm_age_seconds)
        return sandbox.ready_at is None or sandbox.ready_at > oldest
