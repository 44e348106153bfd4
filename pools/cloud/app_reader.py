"""App Platform's JSON, read into our records. Absent fields, odd types and unknown phases are expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pools.cloud import records
from pools.cloud.app_spec import INSTALLATION_KEY, OWNER_KEY
from pools.cloud.fitting import fitted
from pools.cloud.records import App, Phase, Proposal

COMPONENT_KINDS = ("services", "workers", "jobs", "static_sites", "functions")
ID = re.compile(rf"[!-~]{{1,{records.ID_CHARACTERS}}}")
URL = re.compile(r"https?://[!-~]+")
ENCRYPTED = "EV["  # how App Platform shows the value of a SECRET
DEEPEST_STEP = 10
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
FAILED = (Phase.ERROR, Phase.CANCELED)
# From the least to the most that a phase says about a deployment that is not active yet.
BY_WEIGHT = (
    Phase.UNKNOWN,
    Phase.SUPERSEDED,
    Phase.PENDING_BUILD,
    Phase.BUILDING,
    Phase.PENDING_DEPLOY,
    Phase.DEPLOYING,
    Phase.ACTIVE,
    Phase.CANCELED,
    Phase.ERROR,
)


class Unreadable(ValueError):
    """The JSON is not what it should be; the message says how."""


def read_app(data: Any, now: datetime) -> App:
    """One app, its texts fitted. Raises Unreadable without an id that can be kept: it names the app, and can't be cut.
    `now` stands in for a creation time that is absent or absurd."""
    app = _mapping(data)
    app_id = _text(app.get("id"))
    if app_id is None or not ID.fullmatch(app_id) or not app_id.strip("."):  # dots lead elsewhere in a path
        raise Unreadable("an app without an id that can be kept")
    spec = _mapping(app.get("spec"))
    deployment = telling_deployment(app)
    phase = read_phase(deployment.get("phase"))
    return App(
        id=app_id,
        name=_fitted(_text(spec.get("name")) or _text(app.get("name")), records.NAME_CHARACTERS) or "",
        owner=_fitted(_variable(spec, OWNER_KEY), records.OWNER_CHARACTERS),
        installation=_fitted(_variable(spec, INSTALLATION_KEY), records.INSTALLATION_CHARACTERS),
        phase=phase,
        url=_url(app.get("live_url")) or _url(app.get("default_ingress")),
        region=_fitted(
            _text(_mapping(app.get("region")).get("slug")) or _text(spec.get("region")), records.REGION_CHARACTERS
        ),
        size=_fitted(
            next((size for part in _components(spec) if (size := _text(part.get("instance_size_slug")))), None),
            records.SIZE_CHARACTERS,
        ),
        created_at=_time(app.get("created_at")) or now,
        updated_at=_time(app.get("updated_at")),
        failure=_fitted(_failure(phase, deployment), records.FAILURE_CHARACTERS),
    )


def has_deployment(data: Any) -> bool:
    """Whether the app's own record mentions a deployment; after a failed first one it may not."""
    return bool(telling_deployment(_mapping(data)))


def telling_deployment(app: dict[str, Any]) -> dict[str, Any]:
    """The deployment that says how the app is: the active one, else the pending one that says most.

    An active deployment wins over the others, because a pending one may still be there after it. A failed
    first deployment never becomes active; its ERROR is seen among the pending.
    """
    active = _mapping(app.get("active_deployment"))
    if active and "phase" not in active:
        return {**active, "phase": Phase.ACTIVE}
    if read_phase(active.get("phase")) is Phase.ACTIVE:
        return active
    others = (app.get("in_progress_deployment"), app.get("pending_deployment"), active)
    return max(map(_mapping, others), key=lambda deployment: BY_WEIGHT.index(read_phase(deployment.get("phase"))))


def with_deployment(data: Any, deployment: Any) -> dict[str, Any]:
    """The app as if its record had mentioned `deployment`, its newest."""
    return {**_mapping(data), "in_progress_deployment": deployment}


def read_phase(value: Any) -> Phase:
    """The phase; UNKNOWN for one that is absent or that App Platform has invented since."""
    try:
        return Phase(value)
    except ValueError:
        return Phase.UNKNOWN


def read_proposal(data: Any) -> Proposal:
    """The answer to a proposed spec. Raises Unreadable when it does not speak of the name."""
    body = _mapping(data)
    available = body.get("app_name_available")
    if not isinstance(available, bool):
        raise Unreadable("a proposal that does not say whether the name is free")
    return Proposal(name_is_available=available)


def _variable(spec: dict[str, Any], key: str) -> str | None:
    """The value of the app's variable of that name, UNREADABLE when the cloud shows it encrypted."""
    for place in (*_components(spec), spec):
        for env in _items(place.get("envs")):
            if env.get("key") == key and (value := _text(env.get("value"))):
                return records.UNREADABLE if value.startswith(ENCRYPTED) else value
    return None


def _components(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in COMPONENT_KINDS:
        yield from _items(spec.get(kind))


def _failure(phase: Phase, deployment: dict[str, Any]) -> str | None:
    if phase not in FAILED:
        return None
    ended = "failed" if phase is Phase.ERROR else "was canceled"
    progress = _mapping(deployment.get("progress"))
    steps = (*_items(progress.get("steps")), *_items(progress.get("summary_steps")))
    reason = next(filter(None, (_reason(step, DEEPEST_STEP) for step in steps)), None)
    return f"The deployment {ended}: {reason}" if reason else f"The deployment {ended} without a reason."


def _reason(step: dict[str, Any], depth: int) -> str | None:
    """Return why a step, or the innermost step within it, went wrong."""
    within = _items(step.get("steps")) if depth else []
    inner = next(filter(None, (_reason(inner, depth - 1) for inner in within)), None)
    if inner:
        return inner
    reason = _mapping(step.get("reason"))
    said = [text for text in (_text(reason.get("code")), _text(reason.get("message"))) if text]
    return ": ".join(said) if said else None


def _url(value: Any) -> str | None:
    """An address; None for what is none, or is too long to be kept: cut, it would lead elsewhere."""
    text = _text(value)
    if not text or not URL.fullmatch(text) or len(text) > records.URL_CHARACTERS:
        return None
    try:
        has_host = bool(urlsplit(text).hostname) and urlsplit(text).port != 0
    except ValueError:
        return None
    return text.rstrip("/") if has_host else None


def _time(value: Any) -> datetime | None:
    """The moment; None when it is none, or one that no app was made at: not every database takes those."""
    try:
        time = datetime.fromisoformat(value)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return time if EARLIEST <= time <= LATEST else None


def _fitted(text: str | None, most: int) -> str | None:
    return None if text is None else fitted(text, most)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
