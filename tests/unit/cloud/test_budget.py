"""How many requests we allow ourselves, and how we take a refusal."""

from __future__ import annotations

import json
import threading
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.cloud.budget import LONGEST_DELAY_SECONDS, LONGEST_PACE_SECONDS, PACE_SECONDS, RequestBudget, Share
from pools.cloud.errors import CloudUnavailable, RateLimited


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def spend_all(budget: RequestBudget, share: Share = Share.CREATING) -> int:
    spent = 0
    try:
        while spent < 100_000:
            budget.spend(share=share)
            spent += 1
    except RateLimited:
        return spent
    raise AssertionError("the budget never ended")


def test_a_spent_budget_refuses_without_sending_and_says_when_to_come_back():
    clock = Clock()
    budget = RequestBudget(per_minute=3, clock=clock)
    assert spend_all(budget) == 3
    with pytest.raises(RateLimited, match="Our own limit") as refused:
        budget.spend()
    assert refused.value.retry_after_seconds == pytest.approx(61, abs=1)
    assert budget.remaining() == 0


def test_waiting_as_long_as_it_said_is_enough():
    clock = Clock()
    budget = RequestBudget(per_minute=3, clock=clock)
    spend_all(budget)
    with pytest.raises(RateLimited) as refused:
        budget.spend()
    clock.now += refused.value.retry_after_seconds
    budget.spend()


@settings(deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0, 40), st.integers(0, 12)), max_size=60), per_minute=st.integers(1, 20))
def test_no_minute_ever_holds_more_than_its_share(steps, per_minute):
    clock = Clock()
    budget = RequestBudget(per_minute=per_minute, clock=clock)
    sent: list[float] = []
    for wait, tries in steps:
        clock.now += wait
        for _ in range(tries):
            try:
                budget.spend()
            except RateLimited:
                continue
            sent.append(clock.now)
        assert budget.remaining() <= per_minute
    for start in sent:
        assert sum(start <= at < start + 60 for at in sent) <= per_minute


def test_no_hour_holds_more_than_the_clouds_hourly_limit():
    clock = Clock()
    budget = RequestBudget(per_minute=250, clock=clock)
    sent = 0
    for _ in range(55):
        sent += spend_all(budget)
        clock.now += 62
    assert sent == 5000


def test_a_request_of_several_is_taken_whole_or_not_at_all():
    budget = RequestBudget(per_minute=5, clock=Clock())
    budget.spend(3)
    with pytest.raises(RateLimited):
        budget.spend(3)
    assert budget.remaining() == 2


def test_retry_after_is_obeyed_to_the_second():
    clock = Clock()
    budget = RequestBudget(clock=clock)
    assert budget.obey(17) == 17
    assert budget.remaining() == 0
    clock.now += 16.9
    with pytest.raises(RateLimited, match="slow down") as refused:
        budget.spend()
    assert refused.value.retry_after_seconds == pytest.approx(0.1)
    clock.now += 0.2
    budget.spend()


def test_what_is_refused_is_said_in_the_same_words_until_it_is_over():
    """A countdown made a new line in the log each second."""
    clock, said = Clock(), set()
    budget = RequestBudget(clock=clock)
    budget.obey(17)
    for _ in range(3):
        clock.now += 1
        with pytest.raises(RateLimited) as refused:
            budget.spend()
        said.add(str(refused.value))
    assert len(said) == 1


def test_a_refusal_that_does_not_say_how_long_waits_longer_each_time_and_starts_small_again():
    clock = Clock()
    budget = RequestBudget(clock=clock)
    waits = []
    for _ in range(4):
        waits.append(budget.obey(None))
        clock.now += waits[-1]
    assert waits == [5, 10, 20, 40]
    budget.relax()
    assert budget.obey(None) == 5


def test_one_refusal_heard_by_many_threads_counts_once():
    clock = Clock()
    budget = RequestBudget(clock=clock)
    for _ in range(10):
        budget.obey(None)
    clock.now += 5
    assert budget.obey(None) == 10


def test_a_shorter_refusal_does_not_cut_a_longer_one():
    clock = Clock()
    budget = RequestBudget(clock=clock)
    budget.obey(100)
    assert budget.obey(1) == 100


@pytest.mark.parametrize("asked", [10**9, float("inf")])
def test_nobody_makes_us_wait_longer_than_an_hour(asked):
    assert RequestBudget(clock=Clock()).obey(asked) == LONGEST_DELAY_SECONDS


def test_the_state_travels_through_json_into_another_process():
    clock = Clock()
    budget = RequestBudget(per_minute=10, clock=clock)
    budget.spend(4)
    budget.obey(None)
    clock.now += 6
    budget.obey(30)
    other = RequestBudget(per_minute=10, clock=clock)
    other.exchange(json.loads(json.dumps(budget.exchange({}))))
    assert other.remaining() == 0
    clock.now += 30
    assert other.remaining() == budget.remaining() == 6
    assert other.obey(None) == budget.obey(None) == 20


@pytest.mark.parametrize(
    "state",
    [{}, {"spent": "?"}, {"spent": [1]}, {"blocked_until": "soon"}, {"blocked_until": "nan"}, {"refusals": None}],
)
def test_an_empty_or_unreadable_state_is_a_fresh_budget(state):
    budget = RequestBudget(per_minute=7, clock=Clock())
    budget.exchange(state)
    assert budget.remaining() == 7


def test_processes_that_exchange_what_they_sent_keep_one_limit_together():
    clock, stored = Clock(), {}
    budgets = [RequestBudget(per_minute=20, clock=clock) for _ in range(3)]
    sent = 0
    for turn in range(30):
        budget = budgets[turn % 3]
        stored = budget.exchange(stored)
        with suppress(RateLimited):
            budget.spend()
            sent += 1
        stored = budget.exchange(stored)
    assert sent == 20


def test_what_two_sent_at_once_is_counted_for_both():
    clock = Clock()
    one, other = (RequestBudget(per_minute=20, clock=clock) for _ in range(2))
    stored = other.exchange(one.exchange({}))
    one.spend(3)
    other.spend(4)
    stored = other.exchange(one.exchange(stored))
    assert other.remaining() == 13
    one.exchange(stored)
    assert one.remaining() == 13


def test_a_refusal_of_one_process_holds_for_all():
    clock = Clock()
    one, other = (RequestBudget(clock=clock) for _ in range(2))
    stored = one.exchange({})
    other.exchange(stored)
    one.obey(30)
    other.exchange(one.exchange(stored))
    assert other.remaining() == 0


def test_the_state_stays_small_however_much_is_sent():
    clock = Clock()
    budget = RequestBudget(clock=clock)
    for _ in range(5000):
        clock.now += 0.9
        try:
            budget.spend()
        except RateLimited:
            clock.now += 60
    assert sum(map(len, budget.exchange({})["spent"])) <= 130


def test_a_clock_set_back_does_not_lock_us_out():
    clock = Clock()
    budget = RequestBudget(per_minute=3, clock=clock)
    spend_all(budget)
    budget.obey(3000)
    clock.now -= 86_400
    budget.spend()


def test_a_refusal_after_a_clock_was_set_back_holds_for_all():
    clock = Clock()
    budget = RequestBudget(clock=clock)
    budget.obey(3000)
    stored = budget.exchange({})
    clock.now -= 86_400
    budget.obey(60)
    budget.exchange(stored)
    assert budget.remaining() == 0


def test_looking_at_a_moment_just_past_forgets_nothing():
    clock = Clock()
    turn_began = clock.now
    budget = RequestBudget(per_minute=3, clock=clock)
    clock.now += 5
    spend_all(budget)
    assert budget.remaining(turn_began) == 0
    assert budget.remaining() == 0


def test_threads_together_spend_no_more_than_there_is():
    budget = RequestBudget(per_minute=200, clock=Clock())
    spent: list[int] = []
    threads = [threading.Thread(target=lambda: spent.append(spend_all(budget))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(spent) == 200


def test_a_spent_budget_is_a_cloud_that_can_not_be_used_now():
    assert issubclass(RateLimited, CloudUnavailable)


# Shares.


def test_listings_and_deletions_leave_some_to_creates():
    """Once the hour was spent on listings nothing at all could be sent for 19 minutes."""
    budget = RequestBudget(per_minute=100, clock=Clock())
    order = (Share.DELETING, Share.LISTING, Share.ASKING, Share.CREATING)
    assert [spend_all(budget, share) for share in order] == [40, 40, 15, 5]
    other_way = RequestBudget(per_minute=100, clock=Clock())
    assert [spend_all(other_way, share) for share in Share] == [80, 10, 5, 5]


def test_five_hundred_deletions_keep_no_listing_and_no_launch_waiting():
    """They took nine tenths of each minute, of which listings may have eight: till it was over no turn saw a thing."""
    clock = Clock()
    budget, left, seconds = RequestBudget(clock=clock), 500, 0
    while left:
        budget.spend(3, Share.LISTING)  # of 500 apps, at the usual pace; raises when it has to wait
        budget.spend(1, Share.CREATING)
        left -= min(left, spend_all(budget, Share.DELETING))
        clock.now += 3
        seconds += 3
    assert seconds <= 6 * 60, "and they are not starved either"


def test_deletions_are_counted_across_processes():
    clock = Clock()
    one, another = (RequestBudget(per_minute=100, clock=clock) for _ in range(2))
    assert spend_all(one, Share.DELETING) == 40
    state = one.exchange({})
    another.exchange(state)
    assert (another.remaining(share=Share.DELETING), another.remaining(share=Share.LISTING)) == (0, 40)
    another.exchange(state | {"spent": state["spent"][:2]})  # as a version before this one keeps it
    assert another.remaining(share=Share.LISTING) == 40


def test_who_is_refused_for_its_share_hears_when_it_has_some_again():
    clock = Clock()
    budget = RequestBudget(per_minute=10, clock=clock)
    spend_all(budget, Share.LISTING)
    with pytest.raises(RateLimited) as refused:
        budget.spend(share=Share.LISTING)
    clock.now += refused.value.retry_after_seconds
    budget.spend(share=Share.LISTING)


def test_the_pace_follows_what_the_hour_has_left():
    clock = Clock()
    budget = RequestBudget(per_minute=10_000, clock=clock)
    assert budget.pace_seconds() == PACE_SECONDS
    budget.spend(3_700)
    assert budget.pace_seconds() == pytest.approx(1_800 / 300)
    budget.spend(300)
    assert (budget.hour_left(Share.LISTING), budget.pace_seconds()) == (0, LONGEST_PACE_SECONDS)


@pytest.mark.parametrize("pages", [1, 7])
def test_whoever_keeps_to_the_pace_is_never_refused(pages: int):
    clock = Clock()
    budget = RequestBudget(clock=clock)
    end = clock.now + 3 * 3600
    while clock.now < end:
        budget.spend(pages, Share.LISTING)
        clock.now += min(pages * budget.pace_seconds(), LONGEST_PACE_SECONDS)
    assert budget.hour_left(Share.CREATING) > 1_000


def test_what_could_not_be_stored_is_told_the_next_time():
    """A turn lost its lease: its requests and the cloud's "wait ten minutes" were forgotten by all."""
    clock = Clock()
    budget, another = (RequestBudget(per_minute=100, clock=clock) for _ in range(2))
    budget.spend(40)
    budget.obey(600)
    news = budget.news()
    budget.exchange({})  # and what it gave back was lost
    budget.keep(news)
    another.exchange(budget.exchange({}))
    assert another.remaining() == 0
    assert another.remaining(clock.now + 601) == 100
    clock.now += 30
    assert another.hour_left(Share.CREATING) == 5000 - 40
