"""The way of a launch in steps, for its page: what is done, what goes on, what it took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runs.models import DeployedFrom, Run, RunState, ServedBy

DONE, AHEAD, ACTIVE, FAILED, WAITING, SKIPPED = "done", "ahead", "active", "failed", "waiting", "skipped"
SPOKEN = {AHEAD: "done ahead of time", ACTIVE: "now", FAILED: "failed", WAITING: "to come", SKIPPED: "not reached"}

DOING = {
    "Get a sandbox": "Getting a sandbox",
    "Prepare it": "Preparing it",
    "Unpack the game": "Unpacking the game",
    "Fetch the source": "Fetching the source",
    "Start the game": "Starting the game",
}

SERVED = {
    ServedBy.POOL: "from the warm pool",
    ServedBy.COLD_FALLBACK: "cold: no warm one was free",
    ServedBy.COLD: "cold, as asked",
}
DEPLOYED = {
    DeployedFrom.STAGED: "done ahead of time, while the sandbox was warm",
    DeployedFrom.SNAPSHOT: "from its snapshot",
    DeployedFrom.SOURCE: "cloned and installed",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a launch, as its page shows it."""

    key: str
    title: str
    state: str
    ms: int | None = None
    note: str = ""
    offset: float | None = None  # where its bar begins, in percent of the whole launch, once that is known
    share: float | None = None

    @property
    def doing(self) -> str:
        """Says what goes on while it is the current one."""
        return DOING[self.title]

    @property
    def spoken(self) -> str:
        """Its state in words, for those who can't see the marks."""
        return SPOKEN.get(self.state, "")


def steps(run: Run) -> list[Step]:
    """The four steps of a launch, in order."""
    measured = {
        "acquire": _acquire_ms(run),
        "bootstrap": run.bootstrap_ms,
        "restore": run.restore_ms,
        "start": run.start_ms,
    }
    total = sum(ms or 0 for ms in measured.values()) if run.ready_at is not None else 0
    found, passed = [], 0
    for (key, ms), state in zip(measured.items(), _states(run, measured), strict=True):
        is_measured = bool(total and ms)
        found.append(
            Step(
                key,
                _title(key, run),
                state,
                None if state == AHEAD else ms,
                _note(key, run),
                round(100 * passed / total, 1) if is_measured else None,
                round(max(1.0, 100 * (ms or 0) / total), 1) if is_measured else None,
            )
        )
        passed += ms or 0
    return found


def doing(key: str, run: Run) -> str:
    """Return what goes on in that step of the launch."""
    return DOING[_title(key, run)]


def _states(run: Run, measured: dict[str, int | None]) -> Iterator[str]:
    """A measured step is done; the first that is not goes on, or is where it stopped."""
    if run.ready_at is not None:
        for ms in measured.values():
            yield DONE if ms else AHEAD
        return
    current = {RunState.ENDED: SKIPPED, RunState.FAILED: FAILED}.get(RunState(run.state), ACTIVE)
    for ms in measured.values():
        if ms is not None and current != WAITING:
            yield DONE
        else:
            yield current
            current = WAITING if current in (ACTIVE, WAITING) else SKIPPED


def _acquire_ms(run: Run) -> int | None:
    """Measured together with the rest once the game runs; known as soon as the sandbox is there."""
    if run.acquire_ms is None and run.acquired_at is not None:
        return round((run.acquired_at - run.created_at).total_seconds() * 1000)
    return run.acquire_ms


def _title(key: str, run: Run) -> str:
    if key == "acquire":
        return "Get a sandbox"
    if key == "bootstrap":
        return "Prepare it"
    if key == "restore":
        from_source = run.deployed_from == DeployedFrom.SOURCE or (not run.deployed_from and not run.use_snapshot)
        return "Fetch the source" if from_source else "Unpack the game"
    return "Start the game"


def _note(key: str, run: Run) -> str:
    if key == "acquire" and run.served_by:
        return run.notice or SERVED[ServedBy(run.served_by)]
    if key == "restore" and run.deployed_from and run.ready_at is not None:
        return DEPLOYED[DeployedFrom(run.deployed_from)]
    return ""
