"""Launches of a process are worked on two at a time, in the order in which they came."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from runs.launching.turnstile import Turnstile
from tests.fixtures.waiting import until


@contextmanager
def waiting(turnstile: Turnstile, passed: list[str], name: str, *, is_back: bool = False) -> Iterator[threading.Thread]:
    """Somebody who wants to pass, and is in the queue already."""
    before = len(turnstile._waiting) + len(turnstile._back)

    def pass_through() -> None:
        with turnstile.passed(is_back=is_back):
            passed.append(name)

    thread = threading.Thread(target=pass_through)
    thread.start()
    until(lambda: len(turnstile._waiting) + len(turnstile._back) > before, f"{name} waits")
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def test_who_came_first_goes_first_and_who_comes_back_before_all() -> None:
    turnstile, passed = Turnstile(places=1), []
    with ExitStack() as queue, turnstile.passed():
        queue.enter_context(waiting(turnstile, passed, "first"))
        queue.enter_context(waiting(turnstile, passed, "second"))
        queue.enter_context(waiting(turnstile, passed, "back", is_back=True))
        queue.enter_context(waiting(turnstile, passed, "back later", is_back=True))
        assert not passed
    assert passed == ["back", "back later", "first", "second"]


def test_no_more_than_its_places_are_in() -> None:
    turnstile, inside, most, lock = Turnstile(places=2), 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with turnstile.passed():
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.002)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 2


def test_who_has_waited_too_long_goes_on_and_the_places_stay_as_many() -> None:
    turnstile, passed = Turnstile(places=1, patience_seconds=0.05), []
    with turnstile.passed():
        with waiting(turnstile, passed, "impatient"):
            pass
        assert passed == ["impatient"]
    with turnstile.passed(), waiting(turnstile, passed, "next") as thread:
        assert thread.is_alive()
    assert passed == ["impatient", "next"]


def test_a_place_is_free_again_when_its_work_fails() -> None:
    turnstile = Turnstile(places=1, patience_seconds=60)
    for _ in range(3):
        try:
            with turnstile.passed():
                raise ValueError
        except ValueError:
            pass
    assert turnstile._free == 1
