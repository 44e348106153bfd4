"""Documents that must keep up with the code."""

import re
import subprocess
from pathlib import Path

import pytest

from tests import settings_page

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def known() -> settings_page.Known:
    return settings_page.known()


def test_every_setting_is_documented_and_every_documented_setting_exists(known: settings_page.Known):
    assert settings_page.documented(settings_page.PAGE.read_text()) == set(known)


def test_the_settings_defaults_and_what_they_accept_are_documented_as_they_are(known: settings_page.Known):
    page = settings_page.PAGE.read_text()
    assert page == settings_page.written(page, known), settings_page.REMEDY


def test_what_people_wrote_about_a_setting_stays():
    page = (
        "Words.\n\n| variable | default | meaning |\n| --- | --- | --- |\n| `PORT` | 1 | The port. |\n"
        "| `HALF` | half of it: 1 | A half. |\n| `URL` | from `PORT` | Where. |\n"
    )
    known = {"PORT": (8000, "a whole number"), "HALF": (12, "a whole number"), "URL": ("http://x", "a URL")}
    once = settings_page.written(page, known)
    assert once.splitlines()[2:] == [
        "| variable | default | accepts | meaning |",
        "| --- | --- | --- | --- |",
        "| `PORT` | 8000 | a whole number | The port. |",
        "| `HALF` | half of it: 12 | a whole number | A half. |",
        "| `URL` | from `PORT` | a URL | Where. |",
    ]
    assert settings_page.written(once, known) == once


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
