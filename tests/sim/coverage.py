"""What a run has met: states in calm and storm, faults, codes of decisions; and which codes it never met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pools.reasons import CreateCode, EndCode, HoldCode, StepCode, TargetCode
from runs.reasons import RunEndCode, RunNoticeCode
from tests.sim.database import store
from tests.sim.faults import FAULTS
from tests.sim.mischief import IN_A_STORM
from tests.sim.plan import Plan

CODES = {
    "create": CreateCode.values,
    "end": EndCode.values,
    "hold": HoldCode.values,
    "step": StepCode.values,
    "target": TargetCode.values,
    "run end": RunEndCode.values,
    "run notice": RunNoticeCode.values,
}
COLUMNS = (
    ("create", "pools_sandbox", "create_code"),
    ("end", "pools_sandbox", "end_code"),
    ("run end", "runs_run", "end_code"),
    ("run notice", "runs_run", "notice_code"),
)
LOGGED = ("hold", "step", "target")


@dataclass
class Coverage:
    """Counted over one run, or many."""

    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def note(
        self,
        codes: Mapping[tuple[str, str], int],
        plan: Plan,
        acts: Mapping[str, int],
        states: Iterable[tuple[str, str]],
    ) -> None:
        self.codes.update(codes)
        self.faults.update(plan.kinds)
        self.acts.update(acts)
        self.states.update(states)

    def add(self, other: Coverage) -> None:
        for name in ("codes", "faults", "acts", "states", "errors"):
            getattr(self, name).update(getattr(other, name))

    def unseen(self) -> list[str]:
        """The codes that were never met."""
        return [f"{kind} {code}" for kind, codes in CODES.items() for code in codes if not self.codes[kind, code]]

    def lines(self) -> Iterable[str]:
        """The report."""
        yield "states (calm / storm, in so many of the runs):"
        for what in sorted({what for what, _ in self.states}):
            yield f"  {what:24} {self.states[what, 'calm']:6} {self.states[what, 'storm']:6}"
        yield "faults:"
        for kind in sorted({*FAULTS, *IN_A_STORM, "wake-up-lost", *self.faults}):
            yield f"  {kind:24} {self.faults[kind]:6}{'' if self.faults[kind] else '  never'}"
        yield "operators:"
        for act, count in sorted(self.acts.items()):
            yield f"  {act.lstrip('_'):24} {count:6}"
        yield "codes:"
        for kind, codes in CODES.items():
            for code in codes:
                if self.codes[kind, code]:
                    yield f"  {kind + ' ' + code:36} {self.codes[kind, code]:6}"
        yield f"never seen: {', '.join(self.unseen()) or 'none'}"
        if self.errors:
            yield "errors of tasks:"
            for error, count in self.errors.most_common(12):
                yield f"  {count:6} {error}"


def seen_in() -> Counter[tuple[str, str]]:
    """The codes in the rows of the database as it is."""
    found: Counter[tuple[str, str]] = Counter()
    for kind, table, column in COLUMNS:
        for code, count in _rows(f"SELECT {column}, count(*) FROM {table} WHERE {column} <> '' GROUP BY 1"):
            found[kind, code] += count
    for code, count in _rows("SELECT code, count(*) FROM pools_fleetevent WHERE code <> '' GROUP BY 1"):
        for kind in LOGGED:
            if code in CODES[kind]:
                found[kind, code] += count
    return found


def _rows(sql: str) -> list[tuple[str, int]]:
    return store.connection().execute(sql).fetchall()
