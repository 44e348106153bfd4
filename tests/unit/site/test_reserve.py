"""One worker is kept for turns: how many other tasks a cluster fetches."""

from __future__ import annotations

from orchestrator_site.cluster.reserve import SAMPLES_TO_ARRIVE, Reserve, Sample

START = Sample(busy=0, number=10)


def later(busy: int, samples: int = SAMPLES_TO_ARRIVE) -> Sample:
    return Sample(busy=busy, number=START.number + samples)


def fetched(count: int, workers: int = 4) -> Reserve:
    reserve = Reserve(workers)
    for pk in range(count):
        assert reserve.has_room(set(range(pk)), START)
        reserve.add([pk], START)
    return reserve


def test_one_worker_is_left_alone():
    reserve = fetched(3)
    assert not reserve.has_room({0, 1, 2}, START)
    assert not reserve.has_room({0, 1, 2}, later(busy=3))


def test_a_task_that_is_done_makes_room_for_one():
    reserve = fetched(3)
    assert reserve.has_room({0, 2}, START)
    reserve.add([7], START)
    assert not reserve.has_room({0, 2, 7}, START)


def test_a_task_whose_worker_was_killed_makes_room_before_its_row_is_due_again():
    reserve = fetched(3)
    assert not reserve.has_room({0, 1, 2}, later(busy=2, samples=SAMPLES_TO_ARRIVE - 1))
    assert reserve.has_room({0, 1, 2}, later(busy=2))
    assert list(reserve.ids) == [1, 2]


def test_a_task_that_was_just_fetched_is_not_taken_for_lost():
    reserve = fetched(2)
    reserve.add([7], later(busy=2))
    assert not reserve.has_room({0, 1, 7}, later(busy=2))


def test_a_cluster_of_one_worker_works_all_the_same():
    reserve = Reserve(workers=1)
    assert reserve.has_room(set(), START)
    reserve.add([1], START)
    assert not reserve.has_room({1}, START)
