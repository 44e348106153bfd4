"""The mistakes that the simulation is judged by can still be made."""

from __future__ import annotations

import pytest

from tests.mutants.mistakes import Mistake
from tests.sim.planted import PLANTED, ROOT


@pytest.mark.parametrize("mistake", PLANTED, ids=lambda mistake: mistake.id)
def test_a_planted_mistake_fits_the_code_once_and_leaves_it_readable(mistake: Mistake):
    text = (ROOT / mistake.file).read_text()
    assert text.count(mistake.text) == 1
    compile(text.replace(mistake.text, mistake.instead), mistake.file, "exec")


def test_each_planted_mistake_has_a_name_of_its_own():
    assert len({mistake.id for mistake in PLANTED}) == len(PLANTED) >= 10
