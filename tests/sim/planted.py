"""`python -m tests.sim.planted [NAME…]`: known mistakes, each planted alone in a copy of the tree, and after how many
simulated hours the simulation finds it.

    --hours 500      simulated at most for each mistake
    --hours-a-seed 4
    --first-seed 1
"""

from __future__ import annotations

import argparse
import functools
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mistakes import Mistake

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache", "node_modules")
LEAST_SHARE = 0.9
HOURS, HOURS_A_SEED, FIRST_SEED = 500.0, 4.0, 1


def _of(file: str, *mistakes: tuple[str, str, str, str]) -> list[Mistake]:
    return [Mistake(name, harm, file, text, instead, ()) for name, harm, text, instead in mistakes]


PLANTED: list[Mistake] = [
    *_of(
        "pools/capacity.py",
        ("forgotten-lock", "Two creates take the last place.", "    fleet = Fleet.lock()\n",
         "    fleet = Fleet.get()\n"),
        ("one-too-many", "A pool grows past its most.", ":= mine.filter(state__in=SUPPLY).count()) >= pool",
         ":= mine.filter(state__in=SUPPLY).count()) > pool"),
    ),
    *_of(
        "pools/models.py",
        ("claim-without-cas", "Two hold one sandbox.", "return self.filter(pk=sandbox_id, state__in=frm)",
         "return self.filter(pk=sandbox_id)"),
    ),
    *_of(
        "games/staging.py",
        ("unfenced-lease", "Who was held up calls a sandbox ready in which another one is at work.",
         "    if not hold.is_mine():\n        _drop(sandbox)\n        return False\n    return claims",
         "    return claims"),
    ),
    *_of(
        "pools/nudge.py",
        ("lost-wake-up", "Nobody takes the turn that was asked for.",
         '        async_task("pools.tasks.reconcile", task_name="reconcile", group="reconcile", **how)\n',
         "        how.clear()\n"),
    ),
    *_of(
        "pools/breaker.py",
        ("breaker-never-closes", "After a storm nothing is created any more.",
         "        if self.open_until is not None and now >= self.open_until:\n", "        if False:\n"),
    ),
    *_of(
        "pools/turn/plan_orphans.py",
        ("orphan-without-grace", "An app whose row is a moment late is deleted.",
         "app.orphan_since is None or app.orphan_listings < 2 or now - app.orphan_since < grace",
         "app.orphan_since is None"),
    ),
    *_of(
        "runs/lifecycle.py",
        ("end-without-code", "Nobody learns why a run is over.", "end_code=code, end_reason=reason, ended_at=now",
         'end_code="", end_reason=reason, ended_at=now'),
    ),
    *_of(
        "pools/turn/plan_sandbox.py",
        ("delete-never-resent", "An app whose deletion was lost costs money for ever.",
         "if sent is None or is_over(sent, RESEND_SECONDS, now):", "if sent is None:"),
    ),
    *_of(
        "pools/cloud/listing.py",
        ("torn-list", "Apps that a torn list does not show are taken for gone.",
         "if total is not None and len(apps) != total:", "if False:"),
    ),
    *_of(
        "pools/turn/deletions.py",
        ("delete-error-is-gone", "A delete that failed counts as done, and the app costs money for ever.",
         "self._not_deleted(decision, answer)\n            elif not answer:\n                self.confirm",
         "self.confirm_deleted([decision])\n            elif not answer:\n                self.confirm"),
    ),
    *_of(
        "runs/upkeep.py",
        ("forgotten-queue", "A run that was given a sandbox waits for a worker whom nobody has called.",
         "        deployment.queue(waiting.pop(0))\n", "        waiting.pop(0)\n"),
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What the simulation said of a mistake; `said` is empty when it found nothing in that time."""

    hours: float
    seed: int
    said: str


def find(mistake: Mistake, *, hours: float, hours_a_seed: float, first_seed: int) -> Finding:
    """Simulate a copy of the tree with that mistake, seed after seed, until something does not hold that holds without
    it. Raises ValueError when the mistake's text is not in its file once."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=NOT_COPIED, symlinks=True)
        plant(mistake, tree)
        simulated, seed = 0.0, first_seed
        while simulated < hours:
            code, said = simulate(tree, seed, hours_a_seed)
            if code != 0 and holds_without(seed, hours_a_seed):
                return Finding(simulated + hours_a_seed, seed, said)
            simulated, seed = simulated + hours_a_seed, seed + 1
        return Finding(simulated, seed, "")


@functools.cache
def holds_without(seed: int, hours: float) -> bool:
    """Whether all holds in that seed's run of the tree as it is: a seed that fails anyhow would find everything."""
    return simulate(ROOT, seed, hours)[0] == 0


def plant(mistake: Mistake, tree: Path) -> None:
    """Make it in that tree. Raises ValueError."""
    file = tree / mistake.file
    text = file.read_text()
    if text.count(mistake.text) != 1:
        raise ValueError(f"{mistake.id}: its text is not in {mistake.file} once")
    file.write_text(text.replace(mistake.text, mistake.instead))


def simulate(tree: Path, seed: int, hours: float) -> tuple[int, str]:
    """The code of one seed's run, and the last line that it said."""
    command = [sys.executable, "-m", "tests.sim", "--seed", str(seed), "--hours", str(hours), "--quiet"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return done.returncode, lines[-1] if lines else ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.planted", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--hours-a-seed", type=float, default=HOURS_A_SEED)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    given = parser.parse_args(arguments)
    chosen = [mistake for mistake in PLANTED if not given.names or mistake.id in given.names]
    found = 0
    for mistake in chosen:
        finding = find(mistake, hours=given.hours, hours_a_seed=given.hours_a_seed, first_seed=given.first_seed)
        found += bool(finding.said)
        outcome = f"found within {finding.hours:g} h" if finding.said else f"not found in {finding.hours:g} h"
        print(f"{outcome:22} {mistake.id}: {mistake.harm} {finding.said[:200]}", flush=True)
    print(f"{found} of {len(chosen)} found.")
    return int(found < LEAST_SHARE * len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
