"""Documents that must keep up with the code."""

import re
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]


def test_every_setting_is_documented_and_every_documented_setting_exists():
    settings = (CHECKOUT / "orchestrator_site" / "settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings))
    page = (CHECKOUT / "docs" / "configuration.md").read_text()
    tables = [line for line in page.splitlines() if line.startswith("| `")]
    documented = {name for line in tables for name in re.findall(r"`([A-Z][A-Z_]+)`", line.split("|")[1])}
    assert documented == read


def test_make_help_names_every_target():
    makefile = (CHECKOUT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    shown = subprocess.run(["make", "-s", "help"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\w+)", shown, re.MULTILINE) == phony[1].split()


def test_no_file_names_a_package_registry():
    tracked = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    hosts = re.compile("|".join([r"pypi\." + "org", "python" + "hosted", r"registry\.npm" + "js"]))
    named = []
    for name in tracked.stdout.split():
        file = CHECKOUT / name
        if file.is_file() and file.suffix in {".md", ".py", ".txt", ".toml", ".yaml", ".json", ""}:
            named += [name] if hosts.search(file.read_text(errors="replace")) else []
    assert named == []
