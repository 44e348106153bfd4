"""Passwords are hashed beside everything else: a real server, real hashes, more sign-ins than it has threads."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User

from orchestrator_site.sign_in import throttle
from tests.fixtures.databases import Database
from tests.fixtures.waiting import until
from tests.fixtures.web import PLAIN, MakeWeb, Web

SIGN_IN = "/admin/login/"
SIGN_INS = 40
SLOW = PBKDF2PasswordHasher.iterations * 6  # a second or two: nobody is done before the others are asked for


@pytest.fixture
def otto(transactional_db: None) -> User:
    """An operator whose password is slow to check."""
    return User.objects.create(
        username="otto", is_staff=True, password=PBKDF2PasswordHasher().encode("sandy-shores-7", "salt", SLOW)
    )


def form_of(web: Web) -> tuple[dict[str, str], dict[str, str]]:
    """The cookies and the fields of the sign-in page."""
    page = web.get(SIGN_IN)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    return dict(page.cookies), {"csrfmiddlewaretoken": token[1], "username": "otto", "password": "wrong"}


def test_forty_sign_ins_at_once_do_not_slow_the_lobby(make_web: MakeWeb, otto: User):
    """They took all threads, and the lobby was answered after nine seconds."""
    web = make_web().start()
    cookies, form = form_of(web)
    assert any(name.startswith("csrf_") for name in cookies)

    def sign_in(_: int) -> int:
        with httpx.Client(**PLAIN, cookies=cookies) as client:
            return client.post(web.url + SIGN_IN, data=form).status_code

    with ThreadPoolExecutor(SIGN_INS) as people:
        asked = [people.submit(sign_in, number) for number in range(SIGN_INS)]
        until(lambda: sum(each.done() for each in asked) >= SIGN_INS - 21, "those that find no place are told so")
        waiting = [each for each in asked if not each.done()]
        assert web.get("/").status_code == 200
        assert any(not each.done() for each in waiting), "the lobby was not kept waiting"
        answers = Counter(each.result() for each in asked)
    assert answers[503] >= SIGN_INS - 21
    assert answers[200] + answers[429] + answers[503] == SIGN_INS
    assert AccessAttempt.objects.get().failures_since_start <= throttle.PAIR_FAILURES


def test_no_more_passwords_are_tried_at_once_than_one_after_the_other(make_web: MakeWeb, otto: User):
    """Twenty at once were twenty guesses, though five are allowed."""
    User.objects.update(password=PBKDF2PasswordHasher().encode("sandy-shores-7", "salt", 1000))
    web = make_web().start()
    cookies, form = form_of(web)

    def sign_in(_: int) -> int:
        with httpx.Client(**PLAIN, cookies=cookies) as client:
            return client.post(web.url + SIGN_IN, data=form).status_code

    with ThreadPoolExecutor(20) as people:
        answers = Counter(people.map(sign_in, range(20)))
    assert answers[200] == 4
    assert answers[429] + answers[503] == 16, "who waits too long on a busy machine is told so, and has tried nothing"
    assert AccessAttempt.objects.get().failures_since_start in (4, throttle.PAIR_FAILURES)


GUESS = """
import sys
from django.test import Client
answers = []
for _ in range(4):
    answer = Client(REMOTE_ADDR="203.0.113.7", HTTP_HOST="127.0.0.1").post(
        "/admin/login/", {"username": "otto", "password": "wrong"}, secure=False)
    answers.append(str(answer.status_code))
print(*answers)
"""


def test_several_web_processes_count_together(database: Database):
    """Each may be at work on a guess when another one's meets the limit: that guess is refused all the same."""
    machines = [database.script(GUESS) for _ in range(3)]
    answers = Counter(" ".join(machine.communicate(timeout=120)[0] for machine in machines).split())
    assert answers == {"200": 4, "429": 8}
    count = "from axes.models import AccessAttempt; print(AccessAttempt.objects.get().failures_since_start)"
    assert database.answer(count) == "5"
