"""A plan in a file, to be looked at and then carried out as it is, or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from pools.turn.decisions import Decision, Kind, digest_of
from pools.turn.preview import plain

FORMAT = 1
COMPARED = ("kind", "code", "name", "app_id")  # as the digest does: reasons tell ages, which change


def write(path: Path, decisions: Sequence[Decision], now: datetime) -> None:
    """Raises CommandError."""
    plan = {
        "format": FORMAT,
        "digest": digest_of(decisions),
        "made_at": now.isoformat(),
        "decisions": [plain(each) for each in decisions],
    }
    try:
        path.write_text(json.dumps(plan, indent=1) + "\n")
    except OSError as error:
        raise CommandError(f"{path} can't be written ({error.strerror}).") from None


def read(path: Path) -> dict[str, Any]:
    """Raises CommandError."""
    try:
        plan = json.loads(path.read_text())
        if plan["format"] != FORMAT or not isinstance(plan["digest"], str):
            raise ValueError
        Counter(map(_key, plan["decisions"]))
    except OSError as error:
        raise CommandError(f"{path} can't be read ({error.strerror}).") from None
    except (ValueError, LookupError, TypeError):
        raise CommandError(f"{path} is no plan: write one with `reconcile --dry-run --out {path}`.") from None
    return dict(plan)


def difference(plan: dict[str, Any], decisions: Sequence[Decision]) -> Iterator[str]:
    """The lines by which what is due differs from the plan: - is not due any more, + is due and not in it."""
    planned = Counter(_key(each) for each in plan["decisions"] if each["kind"] != Kind.LOOK)
    due = Counter(_key(plain(each)) for each in decisions if each.kind != Kind.LOOK)
    for sign, some in (("-", planned - due), ("+", due - planned)):
        for kind, code, name, app_id in sorted(some.elements()):
            yield f"{sign} {kind:<16} {name or app_id:<24} {code}"


def _key(decision: dict[str, str]) -> tuple[str, ...]:
    return tuple(decision[field] for field in COMPARED)
