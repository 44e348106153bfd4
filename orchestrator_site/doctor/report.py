"""What was found, for people and for programs. Knows no settings: it also says that those can't be read."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn

from orchestrator_site import __version__
from orchestrator_site.doctor.checks import Finding
from orchestrator_site.doctor.codes import Code, Level
from pools.redaction import redacted

TROUBLE = (Level.FAILED, Level.WARNING)


def exit_code(findings: Mapping[str, Finding]) -> int:
    return int(any(finding.level is Level.FAILED for finding in findings.values()))


def lines(findings: Mapping[str, Finding], *, quiet: bool = False) -> list[str]:
    """A line a check and the totals; with `quiet` only what is wrong."""
    shown = {name: finding for name, finding in findings.items() if not quiet or finding.level in TROUBLE}
    return [*(_line(name, finding) for name, finding in shown.items()), *([] if quiet else [totals(findings)])]


def _line(name: str, finding: Finding) -> str:
    remedy = f" To do: {finding.remedy}" if finding.remedy else ""
    return f"{finding.level:<8} {name:<18} {told(finding)}.{remedy}"


def told(finding: Finding) -> str:
    """What was found: in one line, with no secret in it."""
    return " ".join(redacted(finding.found).split()).rstrip(".")


def totals(findings: Mapping[str, Finding]) -> str:
    counts = _counts(findings)
    return (
        f"{len(findings)} check{'' if len(findings) == 1 else 's'}: "
        + ", ".join(f"{counts[level]} {level}" for level in Level)
        + "."
    )


def as_json(findings: Mapping[str, Finding]) -> str:
    checks = [
        {
            "name": name,
            "level": finding.level,
            "code": finding.code,
            "found": told(finding),
            "remedy": finding.remedy,
        }
        for name, finding in findings.items()
    ]
    answer = {
        "version": __version__,
        "ok": exit_code(findings) == 0,
        "totals": _counts(findings),
        "checks": checks,
    }
    return json.dumps(answer, indent=2)


def _counts(findings: Mapping[str, Finding]) -> dict[Level, int]:
    counts = Counter(finding.level for finding in findings.values())
    return {level: counts[level] for level in Level}


def end_without_settings(error: Exception, arguments: Sequence[str]) -> NoReturn:
    """Say all that can be said when the settings can't be read, and end."""
    findings = {"settings": Finding(Code.SETTINGS_REFUSED, str(error))}
    told = as_json(findings) if "--json" in arguments else "\n".join(lines(findings))
    sys.stdout.write(f"{told}\n")
    sys.exit(exit_code(findings))
