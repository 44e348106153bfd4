"""What an export holds: which tables, by what their rows are known in every database, and what of them stays behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.apps import apps
from django.db.models import Field, Model, Q, QuerySet

from pools.history_rows import FleetMinute
from pools.models import EventCursor, PoolMinute, Sandbox, SpentHour, State
from runs.models import OVER, LaunchHour, Run, UsageDay, UsageMark


@dataclass(frozen=True)
class Table:
    """One table of an export. `key`: the fields by which a row is known again; the database's own numbers are not."""

    label: str
    key: tuple[str, ...]
    without: frozenset[str] = frozenset()
    only: tuple[str, ...] = ()  # none: all fields but `without`
    rows: Q = field(default_factory=Q)
    as_kept: frozenset[str] = frozenset()  # what a form would refuse of these the databases keep all the same
    is_replaced: bool = True  # by `--replace`; what was counted is not
    fresh: Mapping[str, Callable[[], Any]] = field(default_factory=dict)  # what a new row has of the fields left out
    has_own: Callable[[], bool] = lambda: False  # whether this database has what another's rows must not be mixed with

    @cached_property
    def model(self) -> type[Model]:
        return apps.get_model(self.label)

    @cached_property
    def fields(self) -> dict[str, Field[Any, Any]]:
        """The columns that are carried, by name; the database's own number of a row only where it is the key."""
        found = {}
        for each in self.model._meta.concrete_fields:
            is_number = each.primary_key and each.name not in self.key
            if not is_number and each.name not in self.without and (not self.only or each.name in self.only + self.key):
                found[each.name] = each
        return found

    @cached_property
    def sets(self) -> dict[str, Any]:
        """The many-to-many fields, by name."""
        return {each.name: each for each in self.model._meta.many_to_many}

    def all(self) -> QuerySet[Any]:
        return self.model._base_manager.filter(self.rows).order_by(*self.key)


def _last_line() -> int:
    """Where the log is now: a webhook is not told again what was before it came here."""
    return max(EventCursor.objects.values_list("last_seq", flat=True), default=0)


def _has_minutes() -> bool:
    return PoolMinute.objects.exists() or FleetMinute.objects.exists()


def _has_spent() -> bool:
    return SpentHour.objects.exists() or Sandbox.objects.filter(IS_GONE).exists()


def _has_hours() -> bool:
    return LaunchHour.objects.exists() or Run.objects.exists()


def _has_days() -> bool:
    return UsageDay.objects.exists() or UsageMark.objects.exists() or _has_history()


def _has_history() -> bool:
    return Run.objects.exists() or Sandbox.objects.filter(IS_GONE).exists()


OF_A_MOMENT = frozenset({"last_acquired_at", "last_acquired_by", "breaker_closed_at", "recycle_before"})
OF_ITS_LOG = frozenset({"seq", "given_up", "last_success_at"})
IS_GONE = Q(state=State.DELETED)

# In the order in which they are made: each after those that it points to.
MADE = [
    Table("auth.group", ("name",)),
    Table(
        "auth.user",
        ("username",),
        without=frozenset({"last_login"}),
        as_kept=frozenset({"username", "email"}),
    ),
    Table("otp_totp.totpdevice", ("user", "name"), without=frozenset({"last_used_at", "created_at"})),
    Table("otp_static.staticdevice", ("user", "name"), without=frozenset({"last_used_at", "created_at"})),
    Table("otp_static.statictoken", ("device", "token")),
    Table("pools.fleet", ("id",), only=("maintenance", "maintenance_message")),
    Table("pools.pool", ("name",), without=OF_A_MOMENT),
    Table("pools.apikey", ("prefix",), without=frozenset({"last_used_at"})),
    Table("pools.webhook", ("id",), without=OF_ITS_LOG, fresh={"seq": _last_line}),
    Table("games.game", ("slug",)),
    # Counted up to a moment, and from there on by the rows of one database.
    Table("pools.spenthour", ("hour", "size"), is_replaced=False, has_own=_has_spent),
    Table("pools.poolminute", ("pool", "minute"), is_replaced=False, has_own=_has_minutes),
    Table("pools.fleetminute", ("minute",), is_replaced=False, has_own=_has_minutes),
    Table("runs.launchhour", ("hour",), is_replaced=False, has_own=_has_hours),
    Table("runs.usageday", ("day", "client", "game", "pool"), is_replaced=False, has_own=_has_days),
    Table("runs.usagemark", ("id",), is_replaced=False, has_own=_has_days),
]
# What is over. Runs and sandboxes that are not are of the one database that looks after them.
HISTORY = [
    Table("pools.sandbox", ("id",), rows=IS_GONE, is_replaced=False, has_own=_has_history),
    Table(
        "runs.run",
        ("id",),
        rows=Q(state__in=OVER) & (Q(sandbox=None) | Q(sandbox__state=State.DELETED)),
        is_replaced=False,
        has_own=_has_history,
    ),
    Table(
        "runs.runevent",
        ("run", "seq"),
        rows=Q(run__state__in=OVER) & (Q(run__sandbox=None) | Q(run__sandbox__state=State.DELETED)),
        is_replaced=False,
        has_own=_has_history,
    ),
    Table("pools.fleetevent", ("seq",), is_replaced=False),
    Table("pools.finding", ("code", "name", "app_id", "since"), rows=Q(until__isnull=False), is_replaced=False),
]
# Not in an export, and why not. Each table is either above or here: a test compares.
LEFT_OUT = {
    "admin.logentry": "the orchestrator log says the same",
    "auth.permission": "made by the migrations; groups and accounts name theirs",
    "axes.accessattempt": "of the last minutes",
    "axes.accessattemptexpiration": "of the last minutes",
    "axes.accessfailurelog": "never written",
    "axes.accesslog": "never written",
    "contenttypes.contenttype": "made by the migrations",
    "django_q.ormq": "tasks are of the database that queued them",
    "django_q.schedule": "made by the migrations",
    "django_q.task": "what became of tasks",
    "games.gameversion": "the catalog's are noted as it is loaded; the others are added again by their address",
    "games.snapshot": "built again where it is missing",
    "orchestrator_site.beat": "of the last seconds",
    "pools.alarminhand": "of alarms that stand here",
    "pools.alarmmail": "sent by the database that has the alarm",
    "pools.bulkwork": "what is left of it is ordered again",
    "pools.cloudapp": "what the cloud showed last",
    "pools.courier": "of the last seconds",
    "pools.delivery": "sent by the database that has the event",
    "pools.eventcursor": "follows the log",
    "pools.lease": "of the last seconds",
    "pools.raisedalarm": "raised again where it holds",
    "runs.tally": "counted from the runs",
    "sessions.session": "operators sign in again",
}
BY_LABEL = {table.label: table for table in [*MADE, *HISTORY]}


def key_of(model: type[Model]) -> tuple[str, ...]:
    """The fields by which rows of a model are known in every database."""
    if model._meta.label_lower == "auth.permission":
        return ("content_type", "codename")
    if model._meta.label_lower == "contenttypes.contenttype":
        return ("app_label", "model")
    return BY_LABEL[model._meta.label_lower].key
