"""What is written into a run's log: numbered, cut where it floods, readable everywhere."""

from __future__ import annotations

import pytest
from django.utils import timezone

from runs import events, lifecycle
from runs.events import LINE_CHARACTERS, LINES_A_RUN, Entry
from runs.models import EventKind, Run
from runs.reasons import RunEndCode
from tests.fixtures.web import MakeRun

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run()


def messages(run: Run) -> list[str]:
    return list(run.events.order_by("seq").values_list("message", flat=True))


def test_a_flood_of_lines_is_cut_with_one_visible_mark_and_what_matters_still_comes(run: Run):
    written = 0
    while written < LINES_A_RUN + 700:
        events.write(run.id, [Entry(EventKind.LOG, f"line {written + n}") for n in range(500)])
        written += 500
    events.emit(run.id, EventKind.LOG, "one more line of the flood")
    events.emit(run.id, EventKind.STATUS, "Starting the game.")
    lifecycle.end(run.id, RunEndCode.ENDED_BY_API, "Ended by a test.", timezone.now())
    rows = list(run.events.order_by("seq"))
    assert [row.seq for row in rows] == list(range(1, LINES_A_RUN + 4))
    assert [row.message for row in rows[:LINES_A_RUN]] == [f"line {n}" for n in range(LINES_A_RUN)]
    mark, status, end = rows[LINES_A_RUN:]
    assert (mark.kind, mark.level, mark.message) == ("log", "warning", events.FLOODED)
    assert f"{LINES_A_RUN:,}" in mark.message
    assert (status.kind, end.kind) == ("status", "end")


def test_a_line_that_is_too_long_is_cut_and_says_how_long_it_was(run: Run):
    events.emit(run.id, EventKind.LOG, "x" * 1_000_000)
    (message,) = messages(run)
    assert len(message) == LINE_CHARACTERS
    assert message.endswith("… (cut: the line had 1,000,000 characters)")


def test_a_line_of_the_longest_length_is_left_alone(run: Run):
    events.emit(run.id, EventKind.LOG, "x" * LINE_CHARACTERS)
    assert messages(run) == ["x" * LINE_CHARACTERS]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2K\x1b[1Gprogress", "progress"),
        ("nul\x00 and bell\x07", "nul and bell"),
        ("half a character \ud83d", "half a character "),
        ("a\ttab, an ümlaut, 日本, 🐍", "a\ttab, an ümlaut, 日本, 🐍"),
        ("data: x\r\n\r\nevent: end", "data: x\n\nevent: end"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_a_line_is_kept_as_text_that_every_reader_can_take(run: Run, said: str, kept: str):
    events.emit(run.id, EventKind.LOG, said)
    assert messages(run) == [kept]


def test_nothing_follows_the_end(run: Run):
    events.emit(run.id, EventKind.LOG, "before")
    lifecycle.end(run.id, RunEndCode.ENDED_BY_API, "Ended by a test.", timezone.now())
    events.emit(run.id, EventKind.LOG, "from a worker that has not noticed")
    assert [row.kind for row in run.events.order_by("seq")] == ["log", "end"]


def test_lines_of_a_run_that_is_gone_are_dropped(run: Run):
    Run.objects.filter(pk=run.pk).delete()
    events.emit(run.id, EventKind.LOG, "for nobody")
