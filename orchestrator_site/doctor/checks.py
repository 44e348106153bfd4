"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator_site.doctor.codes import ADVICE, Code, Level


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, for people in `found`. `facts` is for the checks after it."""

    code: Code
    found: str
    facts: Any = None

    @property
    def level(self) -> Level:
        return ADVICE[self.code].level

    @property
    def remedy(self) -> str:
        return ADVICE[self.code].remedy


def well(found: str, facts: Any = None) -> Finding:
    return Finding(Code.OK, found, facts)


def skipped(why: str) -> Finding:
    return Finding(Code.SKIPPED, why)


class Seen:
    """The findings of the checks before."""

    def __init__(self, findings: Mapping[str, Finding]) -> None:
        self._findings = findings

    def is_well(self, name: str) -> bool:
        """Whether nothing failed there."""
        return name in self._findings and self._findings[name].level in (Level.OK, Level.WARNING)

    def facts(self, name: str) -> Any:
        return self._findings[name].facts if name in self._findings else None


@dataclass(frozen=True, slots=True)
class Check:
    """One question. It is skipped when one that it `needs` failed; those in `after` only come before it."""

    name: str
    look: Callable[[Seen], Finding]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
