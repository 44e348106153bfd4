"""What a measurement found, beside its floor: kept as JSON, shown as a Markdown table, compared with an earlier run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

WORSE_SHARE = 0.15
NONE = "-"
P50, P99, PROCESSOR = "p50 ms", "p99 ms", "processor ms"
COLUMNS = (P50, P99, PROCESSOR)
MORE_IS_BETTER = ("a second",)
FOR_INFORMATION = ("n", "load share", "agent share", "database share")


def quantiles(values: Iterable[float]) -> tuple[float, float]:
    """Median and 99th percentile (the maximum of few). Raises ValueError for none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("Nothing was measured.")
    return statistics.median(ordered), ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured in one place. `figures` and `floor` are numbers by name; a name ends with its unit."""

    what: str
    where: str
    figures: Mapping[str, float]
    floor: Mapping[str, float] = field(default_factory=dict)
    wanted: str = ""

    @property
    def key(self) -> str:
        return f"{self.what} | {self.where}"


def timed(took_ms: Sequence[float], processor_ms: float | None = None, **also: float) -> dict[str, float]:
    """The figures of what was done several times; nothing but `also` when it never was."""
    found: dict[str, float] = {}
    if took_ms:
        found[P50], found[P99] = quantiles(took_ms)
    if processor_ms is not None:
        found[PROCESSOR] = processor_ms
    return found | {name.replace("_", " "): value for name, value in also.items()} | {"n": len(took_ms)}


def save(file: Path, rows: Iterable[Row], about: Mapping[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"about": dict(about), "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def load(file: Path) -> list[Row]:
    return [Row(**row) for row in json.loads(file.read_text())["rows"]]


def change(name: str, value: float, before: float) -> float | None:
    """By which share it got worse, negative for better; None for what is neither."""
    if name in FOR_INFORMATION:
        return None
    if before == 0:
        return 0.0 if value == 0 else float("inf")
    share = (value - before) / before
    return -share if name.endswith(MORE_IS_BETTER) else share


def worse(rows: Iterable[Row], baseline: Iterable[Row]) -> list[str]:
    """What got worse by more than WORSE_SHARE, a line each. What one of the two did not measure is passed over."""
    before = {row.key: row for row in baseline}
    found = []
    for row in rows:
        for name, value in row.figures.items():
            old = before[row.key].figures.get(name) if row.key in before else None
            share = change(name, value, old) if old is not None else None
            if share is not None and share > WORSE_SHARE:
                found.append(f"{row.what}, {row.where}: {name} {number(old)} → {number(value)}")
    return found


def table(rows: Sequence[Row], baseline: Iterable[Row] = ()) -> str:
    """A Markdown table. With a baseline each figure has its change, and ▲ where it got worse by more than
    WORSE_SHARE."""
    before = {row.key: row.figures for row in baseline}
    lines = [
        "| What | Where | p50 ms | p99 ms | processor ms | also | floor: p50 / processor ms | wanted |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    for row in rows:
        old = before.get(row.key, {})
        cells = [_cell(name, row.figures.get(name), old.get(name)) for name in COLUMNS]
        also = ", ".join(
            f"{name} {_cell(name, value, old.get(name))}" for name, value in row.figures.items() if name not in COLUMNS
        )
        floor = " / ".join(number(row.floor[name]) if name in row.floor else NONE for name in (P50, PROCESSOR))
        floor_also = "".join(f", {name} {number(value)}" for name, value in row.floor.items() if name not in COLUMNS)
        shown = (floor + floor_also) if row.floor else NONE
        lines.append(f"| {row.what} | {row.where} | {' | '.join(cells)} | {also} | {shown} | {row.wanted} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """As short as it can be read: three digits, or all of a whole number."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cell(name: str, value: float | None, old: float | None) -> str:
    if value is None:
        return NONE
    share = change(name, value, old) if old is not None else None
    if share is None:
        return number(value)
    mark = " ▲" if share > WORSE_SHARE else ""
    grown = -share if name.endswith(MORE_IS_BETTER) else share
    return f"{number(value)} ({grown:+.0%}{mark})"
