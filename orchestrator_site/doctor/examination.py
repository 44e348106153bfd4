"""Runs the checks: at once where none needs the other, and never longer than its time, whatever hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence

from django.db import connections

from orchestrator_site.doctor.checks import Check, Finding, Seen, skipped
from orchestrator_site.doctor.codes import Code, Level
from pools import clock

logger = logging.getLogger(__name__)

STAGE_SECONDS = 8.0  # for the checks that run at once
TOTAL_SECONDS = 25.0  # for all: with its own start the doctor has 30


def examine(
    checks: Sequence[Check], stage_seconds: float = STAGE_SECONDS, total_seconds: float = TOTAL_SECONDS
) -> dict[str, Finding]:
    """Return what each check finds, in the order of the checks."""
    findings: dict[str, Finding] = {}
    until = clock.monotonic() + total_seconds
    for stage in stages(checks):
        lacking = {check.name: lack for check in stage if (lack := what_is_lacking(check, findings))}
        findings |= {name: skipped(f"not looked at, because {lack} failed") for name, lack in lacking.items()}
        seconds = max(0.0, min(stage_seconds, until - clock.monotonic()))
        findings |= _at_once([check for check in stage if check.name not in lacking], dict(findings), seconds)
    return {check.name: findings[check.name] for check in checks}


def stages(checks: Sequence[Check]) -> Iterator[list[Check]]:
    """The checks in portions, each of which comes after what its checks need or follow."""
    names = {check.name for check in checks}
    left, done = list(checks), set[str]()
    while left:
        stage = [check for check in left if {*check.needs, *check.after} & names <= done]
        if not stage:
            raise ValueError(f"These checks wait for each other: {[check.name for check in left]}")
        yield stage
        done |= {check.name for check in stage}
        left = [check for check in left if check.name not in done]


def what_is_lacking(check: Check, findings: dict[str, Finding]) -> str:
    """The name of the first that it needs and that failed or was skipped; empty when it may look."""
    bad = (Level.FAILED, Level.SKIPPED)
    return next((name for name in check.needs if name in findings and findings[name].level in bad), "")


def chosen(checks: Sequence[Check], names: Collection[str]) -> list[Check]:
    """Those of that name, and all that they need or follow; all without a name."""
    by_name = {check.name: check for check in checks}
    wanted, left = set[str](), list(names)
    while left:
        name = left.pop()
        if name not in wanted:
            wanted.add(name)
            left += [*by_name[name].needs, *by_name[name].after]
    return [check for check in checks if not names or check.name in wanted]


def _at_once(checks: Iterable[Check], before: dict[str, Finding], seconds: float) -> dict[str, Finding]:
    """Each in a thread that is left behind when it hangs: nothing ends a wait inside a library."""
    found: dict[str, Finding] = {}
    threads = {
        check.name: threading.Thread(target=_look, args=(check, Seen(before), found), name=check.name, daemon=True)
        for check in checks
    }
    for thread in threads.values():
        thread.start()
    deadline = clock.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, deadline - clock.monotonic()))
    late = Finding(Code.NO_ANSWER, f"no answer within {seconds:.1f} s")
    return {name: found.get(name, late) for name in threads}


def _look(check: Check, seen: Seen, found: dict[str, Finding]) -> None:
    try:
        found[check.name] = check.look(seen)
    except Exception as error:  # one that breaks hides no other
        logger.debug("The check %s failed.", check.name, exc_info=True)
        found[check.name] = Finding(Code.BROKEN, f"{type(error).__name__}: {error}")
    finally:
        connections.close_all()
