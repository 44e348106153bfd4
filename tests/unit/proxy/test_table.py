"""What docs/games.md tells authors is what the proxy does."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from runs.play import client, proxy, shares, upstream

PAGE = (Path(__file__).parents[3] / "docs" / "games.md").read_text()
ROWS = {
    cells[1].strip(): [cells[2], cells[3]]
    for line in PAGE.splitlines()
    if line.startswith("| ") and len(cells := re.split(r"(?<!\\)\|", line)) == 5
}


def named(row: str) -> set[str]:
    return set(re.findall(r"`([\w-]+)`", ROWS[row][0]))


def test_the_headers_and_methods_that_pass_are_those_of_the_table():
    assert named("headers to the game") == {name.decode() for name in upstream.REQUEST_HEADERS}
    assert named("headers of an answer") == {name.decode() for name in upstream.RESPONSE_HEADERS}
    assert named("methods") == set(proxy.METHODS)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("an address", f"{upstream.LONGEST_TARGET_BYTES:,} bytes"),
        ("a request's body", f"{client.LARGEST_BODY_BYTES // 1_000_000} MB"),
        (
            "requests at once",
            f"{shares.MOST} for each game, {shares.MOST_OF_ONE} of them from one address; {shares.ALWAYS} when",
        ),
    ],
)
def test_the_limits_are_those_of_the_table(row: str, says: str):
    assert says in ROWS[row][0]


def seconds(module: ModuleType, name: str) -> str:
    """A constant as it is written: other tests are less patient, and set it."""
    found = re.search(rf"^{name} = (\d+)", Path(str(module.__file__)).read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_waits_are_those_of_the_table():
    stall = seconds(client, "STALL_SECONDS")
    assert f"nothing comes for {stall} s" in ROWS["a request's body"][1]
    assert f"reads nothing for {stall} s" in ROWS["an answer"][1]
    assert f"after {seconds(shares, 'WAIT_SECONDS')} s of waiting" in ROWS["requests at once"][1]


@pytest.mark.parametrize("example", ["%20", "%25", "%3F", "%23", "%C3%BC"])
def test_names_that_are_said_to_pass_do(example: str):
    assert upstream.is_plain(f"a{example}".encode())
    assert f"`{example}`" in ROWS["names in a path"][0]


@pytest.mark.parametrize("example", ["%2F", "%2E", "%5C", "\\", "%2541"])
def test_names_that_are_said_to_be_refused_are(example: str):
    assert not upstream.is_plain(f"a{example}".encode())
    assert f"`{example}`" in ROWS["names in a path"][1]
