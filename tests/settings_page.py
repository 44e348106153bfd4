"""The tables of docs/configuration.md, of what the settings really read: defaults, and what is accepted. What a
variable means is written by people. `python -m tests.settings_page` puts the page right."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "configuration.md"
HEAD = ["| variable | default | accepts | meaning |", "| --- | --- | --- | --- |"]
REMEDY = "docs/configuration.md is behind the settings. Put it right with: .venv/bin/python -m tests.settings_page"
NOTHING = "–"  # noqa: RUF001  as the page has it
TELL = """
import json
from orchestrator_site import environment, settings
told = {name: [each.default, each.accepts] for name, each in environment.known().items()}
print(json.dumps(told, default=str))
"""

Known = Mapping[str, tuple[object, str]]  # a variable's default, and what it accepts


def known() -> Known:
    """What the settings ask for where no variable is set."""
    with tempfile.TemporaryDirectory() as var:
        told = subprocess.run(
            [sys.executable, "-c", TELL], cwd=CHECKOUT, capture_output=True, text=True, check=True,
            env={"PATH": os.environ["PATH"], "ORCHESTRATOR_VAR": var},
        )  # fmt: skip
    return {name: (default, accepts) for name, (default, accepts) in json.loads(told.stdout).items()}


def names_in(line: str) -> list[str]:
    """The variables that a row is about."""
    return re.findall(r"`([A-Z][A-Z_]+)`", line.split("|")[1]) if line.startswith("| `") else []


def documented(page: str) -> set[str]:
    return {name for line in page.splitlines() for name in names_in(line)}


def written(page: str, known: Known) -> str:
    """The page with the columns that are not people's as they should be."""
    return "".join(f"{line}\n" for line in _lines(page.splitlines(), known))


def _lines(lines: Sequence[str], known: Known) -> Iterator[str]:
    for line in lines:
        names = [name for name in names_in(line) if name in known]
        if line.startswith("| variable | default |"):
            yield HEAD[0]
        elif line == "| --- | --- | --- |":
            yield HEAD[1]
        elif not names:
            yield line
        else:
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            default = _default(cells[1], [known[name][0] for name in names])
            accepts = _together([known[name][1].replace("|", "\\|") for name in names])
            yield f"| {cells[0]} | {default} | {accepts} | {cells[-1]} |"


def _default(said: str, values: Sequence[object]) -> str:
    """What stands there in words stays, but for a number at its end."""
    shown = _together([_shown(value) for value in values])
    if not re.search(r"[a-z]{2,}", re.sub(r"`[^`]*`|\btrue\b|\bfalse\b", "", said)):
        return shown
    return re.sub(r": \d+$", f": {shown}", said)


def _together(each: Sequence[str]) -> str:
    return each[0] if len(set(each)) == 1 else ", ".join(each)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.12g}"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"`{text}`" if text else NOTHING


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(), known()))
