"""A plan in a file, to be looked at and then carried out as it is, or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from pools.turn.decisions import Decision, Kind, digest, essence
from pools.turn.preview import plain

FORMAT = 2  # 1 named no installation


def write(path: Path, decisions: Sequence[Decision], installation: str, now: datetime) -> None:
    """Raises CommandError."""
    plan = {
        "format": FORMAT,
        "installation": installation,
        "digest": digest(map(essence, decisions)),
        "made_at": now.isoformat(),
        "decisions": [plain(each) | {"target_ready": each.target_ready} for each in decisions],
    }
    try:
        path.write_text(json.dumps(plan, indent=1) + "\n")
    except OSError as error:
        raise CommandError(f"{path} can't be written ({error.strerror}).") from None


def read(path: Path, installation: str) -> dict[str, Any]:
    """The plan, which must be this installation's. Raises CommandError."""
    try:
        plan = json.loads(path.read_text())
        if plan["format"] != FORMAT or not isinstance(plan["digest"], str) or not plan["installation"]:
            raise ValueError
        said = digest(map(_essence, plan["decisions"]))
    except OSError as error:
        raise CommandError(f"{path} can't be read ({error.strerror}).") from None
    except (ValueError, LookupError, TypeError):
        raise CommandError(f"{path} is no plan: write one with `reconcile --dry-run --out {path}`.") from None
    if plan["installation"] != installation:
        raise CommandError(
            f"{path} is a plan of another installation ({plan['installation'][:8]}; this one is {installation[:8]}): "
            "it is carried out where it was made."
        )
    if said != plan["digest"]:
        raise CommandError(f"{path} was changed since it was written: a plan is carried out whole or not at all.")
    return dict(plan)


def difference(plan: dict[str, Any], decisions: Sequence[Decision]) -> Iterator[str]:
    """The lines by which what is due differs from the plan: - is not due any more, + is due and not in it."""
    planned = Counter(_line(_essence(each)) for each in plan["decisions"] if each["kind"] != Kind.LOOK)
    due = Counter(_line(essence(each)) for each in decisions if each.kind != Kind.LOOK)
    for sign, some in (("-", planned - due), ("+", due - planned)):
        yield from (f"{sign} {each}" for each in sorted(some.elements()))


def _essence(decision: dict[str, Any]) -> list[Any]:
    """As the decision itself has it."""
    return [*(decision[field] for field in ("kind", "code", "name", "app_id")), *(decision["target_ready"] or ())]


def _line(told: list[Any]) -> str:
    kind, code, name, app_id, *sizes = told
    return f"{kind:<16} {name or app_id:<24} {' '.join([code, *map(str, sizes)])}"
