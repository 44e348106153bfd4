"""`make mutants`: make each mistake alone in a copy of the tree, and see whether the tests named for it notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.mistakes import MISTAKES, Mistake

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
LEAST_SHARE = 0.9
TIMEOUT_SECONDS = 900
STALE = -1
TESTS_FAILED = 1  # pytest's code; every other one but 0 says that it could not ask
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache", "node_modules")


def verdict(mistake: Mistake) -> str:
    """`noticed`, `unnoticed`, or `broken` when the tests could not be run."""
    code = outcome(mistake.tests, mistake)
    if code == 0:
        return "unnoticed"
    return "noticed" if code == TESTS_FAILED else "broken"


def outcome(tests: Iterable[str], mistake: Mistake | None = None) -> int:
    """Pytest's code for these tests in a copy of the tree, with the mistake in it if there is one."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=NOT_COPIED, symlinks=True)
        if mistake is not None:
            file = tree / mistake.file
            text = file.read_text()
            if text.count(mistake.text) != 1:
                return STALE
            file.write_text(text.replace(mistake.text, mistake.instead))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-m", "not chaos and not bench", *tests]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        try:
            return subprocess.run(
                command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return TESTS_FAILED  # a suite that hangs is noticed, too


def main(some: str) -> int:
    chosen = [mistake for mistake in MISTAKES if mistake.id.startswith(some)]
    if not chosen:
        print(f"No mistake begins with {some!r}.")
        return 2
    # Tests that fail anyhow would notice everything.
    for test in sorted({test for mistake in chosen for test in mistake.tests}):
        if outcome([test]) != 0:
            print(f"{test} fails without any mistake.")
            return 2
    counts = {"noticed": 0, "unnoticed": 0, "broken": 0}
    with ThreadPoolExecutor(WORKERS) as workers:
        for mistake, found in zip(chosen, workers.map(verdict, chosen), strict=True):
            counts[found] += 1
            print(f"{found:10} {mistake.id}: {mistake.harm}", flush=True)
    share = counts["noticed"] / len(chosen)
    print(f"{counts['noticed']} of {len(chosen)} noticed ({share:.0%}); at least {LEAST_SHARE:.0%} must be.")
    return int(share < LEAST_SHARE or counts["broken"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
