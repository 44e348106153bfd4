"""What the arcade answers, as frozen dataclasses. Fields that a newer server adds are in `raw`."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from arcade_client.errors import UnexpectedAnswer


@dataclass(frozen=True, kw_only=True)
class Shape:
    """`raw` is the JSON that it was read from."""

    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


S = TypeVar("S", bound=Shape)


@dataclass(frozen=True, kw_only=True)
class Timings(Shape):
    """A launch's time in milliseconds. None is not known yet."""

    acquire_ms: int | None = None
    bootstrap_ms: int | None = None
    restore_ms: int | None = None
    start_ms: int | None = None
    total_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Transition(Shape):
    """One change of a run."""

    at: datetime
    state: str
    code: str = ""
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost(Shape):
    """An estimate by list prices."""

    usd: float
    usd_per_hour: float = 0.0


@dataclass(frozen=True, kw_only=True)
class WaitingFor(Shape):
    """What a launch waits for. `expected_seconds`: until the game runs; None when nobody knows."""

    code: str
    position: int | None = None
    expected_seconds: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFields(Shape):
    """One launch, from the click to the end."""

    run_id: str
    state: str
    status: str
    game: str
    mode: str
    asked_mode: str = ""
    on_miss: str | None = None
    waiting_for: WaitingFor | None = None
    served_by: str = ""
    notice_code: str = ""
    notice: str = ""
    use_snapshot: bool = True
    deployed_from: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    sandbox: str | None = None
    app_id: str | None = None
    end_code: str = ""
    end_reason: str = ""
    page_url: str = ""
    play_url: str = ""
    ingress_url: str | None = None
    created_at: datetime
    ready_at: datetime | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: int | None = None
    timings: Timings = field(default_factory=Timings)
    transitions: tuple[Transition, ...] = ()
    cost: Cost | None = None
    token: str = field(default="", repr=False, compare=False)

    @property
    def is_running(self) -> bool:
        return self.state == "running"

    @property
    def is_over(self) -> bool:
        return self.state in {"ended", "failed"}


@dataclass(frozen=True, kw_only=True)
class RunEvent(Shape):
    """One line of a run: log, status, progress, ready or end."""

    seq: int
    kind: str
    level: str = "info"
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Event(Shape):
    """One change of a run, a sandbox, a pool or the fleet. `id` is the same whichever way it comes."""

    seq: int
    type: str
    id: str = ""
    code: str = ""
    at: datetime | None = None
    level: str = "info"
    message: str = ""
    run_id: str | None = None
    sandbox: str = ""
    pool: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Game(Shape):
    """One game that can be launched."""

    slug: str
    title: str
    tagline: str = ""
    runtime: str = ""
    page_url: str = ""
    source_url: str = ""
    ready_now: bool = False
    has_pool: bool = False


@dataclass(frozen=True, kw_only=True)
class Active(Shape):
    """Runs that are not over, by how they were asked for."""

    cold: int = 0
    warm: int = 0
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class Rate(Shape):
    """Launches within the last hour."""

    used: int
    limit: int
    reset_in_seconds: int = 0


@dataclass(frozen=True, kw_only=True)
class Most(Shape):
    """How many runs are allowed at once, and launches in an hour."""

    max_cold: int
    max_warm: int
    max_total: int
    max_per_hour: int


@dataclass(frozen=True, kw_only=True)
class Use(Shape):
    """One limit of whoever asks. `window_seconds`: of launches within so many; None for runs that are not over."""

    limit: str
    most: int
    used: int
    remaining: int
    window_seconds: int | None = None
    reset_in_seconds: int = 0


@dataclass(frozen=True, kw_only=True)
class Limits(Shape):
    """Launches against their limits: everybody's, and one's own (`yours`)."""

    active: Active
    rate: Rate
    limits: Most
    yours: tuple[Use, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Supply(Shape):
    """What the pools have."""

    ready: int
    creating: int
    in_use: int


@dataclass(frozen=True, kw_only=True)
class Status(Shape):
    """What is played: the caller's runs that are not over, everybody's counts, and what is left."""

    active: tuple[RunFields, ...]
    active_counts: Active
    pool: Supply
    rate: Rate


@dataclass(frozen=True, kw_only=True)
class PoolCounts(Shape):
    """A pool's sandboxes by state."""

    ready: int = 0
    unseen: int = 0
    requested: int = 0
    creating: int = 0
    staging: int = 0
    in_use: int = 0
    deleting: int = 0


@dataclass(frozen=True, kw_only=True)
class PoolFields(Shape):
    """One pool of warm sandboxes. `etag` names its settings as they were read, `message` is what was done to it."""

    name: str
    runtime: str = ""
    mode: str = ""
    target_ready: int = 0
    min_ready: int = 0
    max_ready: int = 0
    max_concurrent_creates: int = 0
    idle_timeout_seconds: int = 0
    on_empty: str = ""
    is_wanted: bool = False
    counts: PoolCounts = field(default_factory=PoolCounts)
    usd_per_hour: float = 0.0
    idle_usd_per_hour: float = 0.0
    message: str = field(default="", compare=False)
    etag: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Decision(Shape):
    """One thing that a turn would do, or would not and says why."""

    kind: str
    code: str = ""
    name: str = ""
    app_id: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanFields(Shape):
    """What the next turn would do. `digest` names this very plan."""

    digest: str = ""
    listed_at: datetime | None = None
    listing_code: str = ""
    listing_error: str = ""
    summary: str = ""
    decisions: tuple[Decision, ...] = ()
    held_back: tuple[Decision, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Applied(Shape):
    """What a turn did that was asked for by its plan. Not `is_done`: it is still at work, and the log will say."""

    digest: str
    is_done: bool = True
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UsageSums(Shape):
    """Launches, and the sandboxes' time and cost. `key` is the day, client, game or pool; None for all, or none."""

    key: str | None = None
    launches: int = 0
    hits: int = 0
    in_use_seconds: float = 0.0
    idle_seconds: float = 0.0
    in_use_usd: float = 0.0
    idle_usd: float = 0.0
    unused: int = 0


@dataclass(frozen=True, kw_only=True)
class Usage(Shape):
    """What was used and what it cost, by day, client, game or pool."""

    by: str
    rows: tuple[UsageSums, ...]
    total: UsageSums


@dataclass(frozen=True, kw_only=True)
class SandboxFields(Shape):
    """One sandbox, from its request until its deletion is confirmed. `message` and `fate` are what was done to it."""

    name: str
    state: str = ""
    pool: str | None = None
    runtime: str = ""
    region: str = ""
    size: str = ""
    origin: str = ""
    id: str = ""
    app_id: str | None = None
    url: str = ""
    run_id: str | None = None
    create_code: str = ""
    create_reason: str = ""
    end_code: str = ""
    end_reason: str = ""
    cost_usd: float = 0.0
    requested_at: datetime | None = None
    ready_at: datetime | None = None
    acquired_at: datetime | None = None
    expires_at: datetime | None = None
    deleted_at: datetime | None = None
    message: str = field(default="", compare=False)
    fate: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Delivery(Shape):
    """One event that is sent to a webhook, and what came of it. `id` is what the receiver sees as `webhook-id`."""

    id: str
    type: str
    state: str
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_status: int | None = None
    last_error: str = ""
    created_at: datetime | None = None
    delivered_at: datetime | None = None
    payload: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Secret(Shape):
    """What a webhook's deliveries are signed with from now on."""

    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class WebhookFields(Shape):
    """Where events are sent. Without `types` it is told of all. `secret` is told once, when it is made."""

    id: str
    url: str
    scope: str = ""
    types: tuple[str, ...] = ()
    description: str = ""
    is_enabled: bool = True
    disabled_code: str = ""
    created_at: datetime | None = None
    created_by: str = ""
    last_success_at: datetime | None = None
    secret: str = field(default="", repr=False, compare=False)


def read(shape: type[S], data: Any, **more: Any) -> S:
    """Make a shape of JSON; `more` are fields that come from elsewhere. Raises UnexpectedAnswer."""
    if not isinstance(data, Mapping):
        raise UnexpectedAnswer(f"{shape.__name__} should be an object, and is {str(data)[:80]!r}.")
    values: dict[str, Any] = {"raw": data}
    hints = _hints(shape)  # type: ignore[arg-type]  # a class can be hashed
    for each in fields(shape):
        if each.name in more:
            values[each.name] = more[each.name]
        elif each.name in data and each.name != "raw":
            values[each.name] = _value(hints[each.name], data[each.name])
        elif each.name != "raw" and each.default is MISSING and each.default_factory is MISSING:
            raise UnexpectedAnswer(f"{shape.__name__} has no {each.name!r}.")
    return shape(**values)


def read_all(shape: type[S], data: Any) -> list[S]:
    """Make shapes of a JSON list. Raises UnexpectedAnswer."""
    if not isinstance(data, list):
        raise UnexpectedAnswer(f"A list of {shape.__name__} was expected, and {str(data)[:80]!r} came.")
    return [read(shape, each) for each in data]


@cache
def _hints(shape: type[Shape]) -> dict[str, Any]:
    return get_type_hints(shape)


def _value(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        return None if value is None else _value(kinds[0], value)
    if origin is tuple:
        if not isinstance(value, list):
            raise UnexpectedAnswer(f"A list was expected, and {str(value)[:80]!r} came.")
        return tuple(_value(get_args(hint)[0], each) for each in value)
    if hint is datetime:
        return _moment(value)
    if isinstance(hint, type) and issubclass(hint, Shape):
        return read(hint, value)
    wanted = origin or hint
    if wanted is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, wanted):
        raise UnexpectedAnswer(f"{str(value)[:80]!r} is no {wanted.__name__}.")
    return value


def _moment(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise UnexpectedAnswer(f"{str(value)[:80]!r} is no time.") from None
