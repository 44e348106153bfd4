"""The steps of changing SECRET_KEY, and what each of them leaves readable."""

import pytest
from django.conf import settings as site
from django.core import signing
from django.test import override_settings
from django_q.conf import Conf
from django_q.signing import PickleSerializer

from orchestrator_site.cluster.signatures import readable
from orchestrator_site.secret_keys import Keys


def test_a_new_key_is_accepted_before_it_signs_and_the_former_one_after():
    kept = Keys.of("a", [])
    announced = kept.announced("b")
    assert announced == Keys("a", ("b", "a"))
    assert announced.coming == "b"
    used = Keys.of(announced.key, announced.accepted).used()
    assert used == Keys("b", ("b", "a"))
    assert (used.coming, used.former) == ("", ("a",))
    assert used.forgotten() == Keys("b", ("b",))


def test_each_step_changes_one_of_the_two_settings():
    """So no process that starts between two writes signs what others refuse."""
    kept = Keys.of("b", ["a"])
    announced, used = kept.announced("c"), kept.announced("c").used()
    assert announced.key == kept.key
    assert used.accepted == announced.accepted
    assert used.forgotten().key == used.key


def test_what_is_announced_is_not_forgotten():
    assert Keys.of("b", ["c", "b", "a"]).forgotten() == Keys("b", ("c", "b"))


def task_signed_with(key: str) -> str:
    return signing.dumps({"func": "math.sqrt"}, key=key, salt=Conf.PREFIX, serializer=PickleSerializer)


@pytest.mark.parametrize("key", ["the former", "the coming"])
def test_a_task_that_another_key_signed_is_read(key: str):
    """Django-Q took it from the queue and dropped it."""
    with override_settings(SECRET_KEY_FALLBACKS=["the coming", site.SECRET_KEY, "the former"]):
        content = readable(task_signed_with(key))
    assert content.split(":")[0] == task_signed_with(key).split(":")[0]
    assert signing.loads(content, key=site.SECRET_KEY, salt=Conf.PREFIX, serializer=PickleSerializer)


def test_a_task_that_no_key_of_ours_signed_stays_unread():
    forged = task_signed_with("somebody's")
    assert readable(forged) == forged
