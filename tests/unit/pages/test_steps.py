"""The steps of a launch, as its page shows them."""

from datetime import UTC, datetime

from games.models import Game
from runs.launching.steps import steps
from runs.models import Run

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def states_of(**fields):
    return [step.state for step in steps(Run(game=Game(slug="snake"), created_at=NOW, **fields))]


def test_a_new_launch_gets_its_sandbox_first():
    assert states_of(state="acquiring") == ["active", "waiting", "waiting", "waiting"]


def test_steps_fill_as_they_are_measured():
    assert states_of(state="deploying", acquired_at=NOW, acquire_ms=30, bootstrap_ms=100) == [
        "done",
        "done",
        "active",
        "waiting",
    ]


def test_a_failed_launch_shows_where_it_failed():
    assert states_of(state="failed", acquired_at=NOW, acquire_ms=30, bootstrap_ms=9) == [
        "done",
        "done",
        "failed",
        "skipped",
    ]


def test_what_staging_had_done_counts_as_done_ahead():
    states = states_of(
        state="running", ready_at=NOW, acquired_at=NOW, deployed_from="staged", served_by="pool",
        acquire_ms=30, bootstrap_ms=0, restore_ms=0, start_ms=20,
    )  # fmt: skip
    assert states == ["done", "ahead", "ahead", "done"]


def test_bars_follow_one_another_and_fill_the_whole():
    run = Run(
        game=Game(slug="snake"), state="running", created_at=NOW, ready_at=NOW, acquired_at=NOW,
        acquire_ms=250, bootstrap_ms=250, restore_ms=250, start_ms=250,
    )  # fmt: skip
    assert [(step.offset, step.share) for step in steps(run)] == [(0, 25), (25, 25), (50, 25), (75, 25)]
