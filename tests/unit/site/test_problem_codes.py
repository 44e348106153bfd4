"""Every error of the API has a code of the one table, and the page on errors shows the whole table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pools.api_keys import Refusal
from pools.problem_codes import CODES, OF_STATUS, TABLE
from pools.problems import Problem
from runs.reasons import RefusalCode

CHECKOUT = Path(__file__).parents[3]
PAGE = (CHECKOUT / "docs" / "api-errors.md").read_text()
PACKAGES = ("orchestrator_site", "pools", "games", "runs")


def made() -> Iterator[tuple[Path, ast.Call]]:
    """Each place where a problem is made."""
    for package in PACKAGES:
        for path in (CHECKOUT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Problem", "Problem.field"):
                    yield path, node


def code_in(call: ast.Call) -> str:
    """The code that is written there; empty where none is, or where it is not written but passed on."""
    given = next((keyword.value for keyword in call.keywords if keyword.arg == "code"), None)
    return str(given.value) if isinstance(given, ast.Constant) else ""


def test_the_page_on_errors_shows_the_table():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.*) \| (.*) \| (yes|no) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (each.code, str(each.status), each.title, each.remedy, "yes" if each.is_retryable else "no") for each in TABLE
    ]


def test_each_code_that_is_written_anywhere_is_in_the_table_with_its_status():
    found = list(made())
    assert len(found) > 10, "this test reads the code"
    for path, call in found:
        if not (code := code_in(call)):
            continue
        assert code in CODES, (path, call.lineno)
        status = 422 if ast.unparse(call.func) == "Problem.field" else ast.literal_eval(call.args[0])
        assert CODES[code].status == status, (path, call.lineno)


def test_each_refusal_of_a_launch_is_in_the_table():
    assert set(RefusalCode.values) <= set(CODES)


def test_each_refusal_of_a_key_is_in_the_table():
    assert {CODES[code].status for code in Refusal} == {401}


def test_the_table_has_no_code_that_nobody_sends():
    written = {code_in(call) for _, call in made()} | set(RefusalCode.values) | set(Refusal)
    assert set(CODES) - written - set(OF_STATUS.values()) == {"bad_request", "internal_error"}


@pytest.mark.parametrize(("status", "code"), OF_STATUS.items())
def test_an_error_that_says_no_more_than_its_status_has_a_code_of_that_status(status: int, code: str):
    assert CODES[code].status == status
    assert Problem(status, "x").as_json()["code"] == code


@pytest.mark.parametrize(("status", "code"), [(418, "bad_request"), (507, "internal_error")])
def test_so_has_one_of_a_status_that_is_not_in_the_table(status: int, code: str):
    assert Problem(status, "x").code == code


def test_a_code_that_is_not_in_the_table_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        Problem(422, "x", code="something_else")
