"""How long a pool takes to be full again, as the cloud's limits have it."""

from tests.bench.refill import DEPLOY_SECONDS, seconds_to_refill


def test_a_small_pool_waits_for_nothing_but_its_sandboxes():
    assert seconds_to_refill(10) == DEPLOY_SECONDS + 1


def test_a_pool_that_may_create_few_at_once_takes_as_many_rounds():
    assert seconds_to_refill(30, at_once=10) == 3 * DEPLOY_SECONDS + 1


def test_a_pool_beyond_the_minutes_limit_waits_for_the_next_minute():
    assert seconds_to_refill(240, at_once=240) > DEPLOY_SECONDS + 60
