"""What sandboxes cost day by day, told apart by pool, game or client, or by whether they were used."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Sum

from runs.models import UsageDay
from runs.usage import By, beyond, settled_until

LISTED = 8  # of a table; the rest is one column
REST = "others"
IN_USE, IDLE = "in use", "idle"
NOBODY = {By.POOL: "no pool", By.GAME: "no launch", By.CLIENT: "no launch"}
TOLD_APART = {"use": None, "pool": By.POOL, "game": By.GAME, "key": By.CLIENT}


@dataclass(frozen=True, slots=True)
class CostDays:
    """The dollars of each day and name: a day without costs is there, a name that had none is not."""

    days: list[date]
    names: list[str]
    usd: dict[tuple[date, str], float]

    def of_day(self, day: date) -> list[float]:
        return [self.usd.get((day, name), 0.0) for name in self.names]

    @property
    def highest(self) -> float:
        return max((sum(self.of_day(day)) for day in self.days), default=0.0)

    @property
    def total(self) -> float:
        return sum(self.usd.values())

    def short(self) -> CostDays:
        """The same with the names that cost the most, and the others together."""
        if len(self.names) <= LISTED:
            return self
        kept, usd = self.names[: LISTED - 1], defaultdict[tuple[date, str], float](float)
        for (day, name), cost in self.usd.items():
            usd[day, name if name in kept else REST] += cost
        return CostDays(self.days, [*kept, REST], dict(usd))


def cost_days(first: date, last: date, told_apart: str, now: datetime) -> CostDays:
    """`told_apart`: one of TOLD_APART. Names come in the order of what they cost, the dearest first. A fixed number of
    statements, but for the days that are not settled yet."""
    by = TOLD_APART[told_apart]
    while True:
        until = settled_until(now)
        found = _found(first, last, by, until, now)
        if settled_until(now) == until:  # else something was counted twice, or not at all
            break
    usd: dict[tuple[date, str], float] = {}
    totals: defaultdict[str, float] = defaultdict(float)
    for (day, name), (used, idle) in found.items():
        parts = {name or NOBODY[by]: used + idle} if by else {IN_USE: used, IDLE: idle}
        for part, dollars in parts.items():
            usd[day, part] = usd.get((day, part), 0.0) + dollars
            totals[part] += dollars
    dearest = sorted((name for name in totals if totals[name]), key=lambda name: (-totals[name], name))
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return CostDays(days, [IN_USE, IDLE] if by is None else dearest, usd)


def _found(
    first: date, last: date, by: By | None, until: datetime, now: datetime
) -> dict[tuple[date, str], tuple[float, float]]:
    """The dollars of each day and name: in use, and idle."""
    found: defaultdict[tuple[date, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    names = ("day", by.value) if by else ("day",)
    rows = UsageDay.objects.filter(day__gte=first, day__lte=last).order_by().values(*names)
    for row in rows.annotate(used=Sum("in_use_usd"), idle=Sum("idle_usd")):
        dollars = found[row["day"], row[by.value] if by else ""]
        dollars[0] += row["used"]
        dollars[1] += row["idle"]
    for day, key, used in beyond(until, first, last, now):
        dollars = found[day, getattr(key, by.value) if by else ""]
        dollars[0] += used.in_use_usd
        dollars[1] += used.idle_usd
    return {key: (used, idle) for key, (used, idle) in found.items()}
