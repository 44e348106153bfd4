"""The list of mistakes of `make mutants` fits the code as it is."""

from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.mistakes import MISTAKES, Mistake

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_each_mistake_can_still_be_made_at_exactly_one_place(mistake: Mistake) -> None:
    text = (ROOT / mistake.file).read_text()
    assert text.count(mistake.text) == 1
    compile(text.replace(mistake.text, mistake.instead), mistake.file, "exec")


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_each_mistake_names_tests_that_exist(mistake: Mistake) -> None:
    assert all((ROOT / test.partition("::")[0]).exists() for test in mistake.tests)


def test_no_two_mistakes_share_an_id() -> None:
    assert max(Counter(mistake.id for mistake in MISTAKES).values()) == 1
