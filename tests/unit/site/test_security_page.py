"""docs/security.md names tests and modules that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
PAGE = (CHECKOUT / "docs" / "security.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|runs|pools)/[\w/]+\.py)`", PAGE))))
def test_what_the_page_names_is_there(path: str):
    assert (CHECKOUT / path).is_file()


def test_every_threat_has_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 4]
    threats = [row for row in rows if "tried by" not in row and "may |" not in row and "---" not in row]
    section = PAGE[PAGE.index("## The boundaries") :]
    untried = [row for row in threats if row in section and "`tests/" not in row.rsplit("|", 2)[1]]
    assert not untried
