"""Operators sign in: how often it may fail, what is written down about it, and where it leads."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt, AccessLog
from django.conf import settings as site
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orchestrator_site import retention
from orchestrator_site.sign_in import throttle
from pools import fleet_log, journal
from pools.models import FleetEvent
from pools.reasons import LogKind

pytestmark = pytest.mark.django_db
SIGN_IN = "/admin/login/"
FLEET = "/admin/pools/fleet/"
PASSWORD = "sandy-shores-7"
COOLOFF = site.AXES_COOLOFF_TIME
HOME, STRANGER = "203.0.113.7", "198.51.100.9"


@pytest.fixture(autouse=True)
def otto() -> User:
    user = User.objects.create_user("otto", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name="Operators"))
    return user


def attempt(name: str = "otto", password: str = "wrong", address: str = HOME, **more: str) -> Any:
    return Client(REMOTE_ADDR=address).post(SIGN_IN, {"username": name, "password": password, **more})


def fail(times: int, name: str = "otto", address: str = HOME) -> Any:
    for _ in range(times):
        answer = attempt(name, address=address)
    return answer


def is_let_in(answer: Any) -> bool:
    return answer.status_code == 302


def lines(code: str = "") -> list[str]:
    """What the log says about signing in, oldest first."""
    found = FleetEvent.objects.filter(kind=LogKind.SIGN_IN).order_by("seq")
    return list((found.filter(code=code) if code else found).values_list("message", flat=True))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed."""
    seen: list[str] = []
    encode = MD5PasswordHasher.encode

    def noted(self: MD5PasswordHasher, password: str, salt: str) -> str:
        seen.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", noted)
    return seen


# The throttle.


def test_the_right_password_signs_in():
    answer = attempt(password=PASSWORD)
    assert is_let_in(answer)
    assert answer["Location"] == "/admin/"


def test_an_account_is_locked_at_an_address_after_five_failures():
    assert [attempt().status_code for _ in range(5)] == [200, 200, 200, 200, 429]
    assert attempt(password=PASSWORD).status_code == 429


def test_who_is_locked_out_reads_when_to_try_again(hashed):
    fail(5)
    answer = attempt(password=PASSWORD)
    page = answer.content.decode()
    assert "Too many sign-ins failed" in page
    assert "try again in 10 minutes" in page
    assert 'name="password"' in page
    assert 0 < int(answer["Retry-After"]) <= COOLOFF.total_seconds()


def test_nothing_is_hashed_for_who_is_locked_out(hashed):
    fail(5)
    hashed.clear()
    attempt(password=PASSWORD)
    assert hashed == []


def test_a_name_that_does_not_exist_is_hashed_for_and_locked_alike(hashed):
    """Neither the time nor the lock says which names there are."""
    assert [attempt("nobody").status_code for _ in range(5)] == [200, 200, 200, 200, 429]
    assert hashed[-5:] == ["wrong"] * 5


def test_a_lock_ends_by_itself_however_often_somebody_knocks():
    with time_machine.travel(timezone.now(), tick=False) as clock:
        fail(5)
        for _ in range(10):
            clock.shift(COOLOFF / 11)
            assert attempt(password=PASSWORD).status_code == 429
        clock.shift(COOLOFF / 11 + timedelta(seconds=1))
        assert is_let_in(attempt(password=PASSWORD))


def test_after_a_lock_the_count_begins_anew():
    with time_machine.travel(timezone.now(), tick=False) as clock:
        fail(5)
        clock.shift(COOLOFF + timedelta(seconds=1))
        assert attempt().status_code == 200


def test_a_success_forgets_the_failures_before_it():
    fail(4)
    assert is_let_in(attempt(password=PASSWORD))
    assert [attempt().status_code for _ in range(4)] == [200] * 4


def test_a_stranger_does_not_lock_an_operator_out():
    fail(throttle.ADDRESS_FAILURES, address=STRANGER)
    assert is_let_in(attempt(password=PASSWORD))


def test_an_address_that_tries_many_names_is_locked_as_a_whole():
    for number in range(throttle.ADDRESS_FAILURES):
        answer = attempt(f"name-{number}", address=STRANGER)
    assert answer.status_code == 429
    assert attempt(password=PASSWORD, address=STRANGER).status_code == 429
    assert is_let_in(attempt(password=PASSWORD))


def test_a_success_with_an_account_of_ones_own_does_not_reset_an_address():
    for number in range(throttle.ADDRESS_FAILURES - 1):
        attempt(f"name-{number}", address=STRANGER)
    assert is_let_in(attempt(password=PASSWORD, address=STRANGER))
    assert attempt("another", address=STRANGER).status_code == 429


def test_the_addresses_of_one_ipv6_network_count_as_one():
    for number in range(5):
        answer = attempt(address=f"2001:db8:1:2::{number + 1:x}")
    assert answer.status_code == 429
    assert attempt(address="2001:db8:1:2:ffff::1").status_code == 429
    assert attempt(address="2001:db8:1:3::1").status_code == 200
    assert set(AccessAttempt.objects.values_list("ip_address", flat=True)) == {"2001:db8:1:2::", "2001:db8:1:3::"}


def test_an_ipv4_address_in_ipv6s_clothes_is_the_same_address():
    fail(4)
    assert attempt(address=f"::ffff:{HOME}").status_code == 429


def test_no_header_changes_the_address():
    for number in range(5):
        headers = {"X-Forwarded-For": f"10.0.0.{number}", "X-Real-Ip": f"10.0.0.{number}"}
        answer = Client(REMOTE_ADDR=HOME, headers=headers).post(SIGN_IN, {"username": "otto", "password": "wrong"})
    assert answer.status_code == 429


def test_another_browser_is_not_another_visitor():
    for number in range(5):
        headers = {"User-Agent": f"browser {number}"}
        answer = Client(REMOTE_ADDR=HOME, headers=headers).post(SIGN_IN, {"username": "otto", "password": "wrong"})
    assert answer.status_code == 429


@pytest.fixture
def guessed_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many addresses, each below its own limit, have guessed one account's password."""
    monkeypatch.setattr(throttle, "ACCOUNT_FAILURES", 12)
    assert is_let_in(attempt(password=PASSWORD))
    for number in range(12):
        attempt(address=f"198.51.100.{number}")


def test_an_account_that_is_guessed_from_everywhere_is_locked_for_strangers(guessed_from_everywhere):
    assert attempt(password=PASSWORD, address="192.0.2.77").status_code == 429


def test_and_its_owner_still_gets_in_from_where_they_signed_in_before(guessed_from_everywhere):
    assert is_let_in(attempt(password=PASSWORD, address=HOME))
    assert [attempt(address=HOME).status_code for _ in range(5)][-1] == 429, "but may not guess more than anybody"


def test_a_clock_that_was_set_back_locks_nobody_out_for_long():
    fail(5)
    AccessAttempt.objects.update(attempt_time=timezone.now() + timedelta(days=1))
    assert is_let_in(attempt(password=PASSWORD))


def test_what_a_stranger_sends_is_not_kept():
    """Nor the password: neither in rows nor in the log."""
    more = {"password2": "sandy-secret", "a" * 900: "b" * 900}
    client = Client(REMOTE_ADDR=HOME, headers={"User-Agent": "c" * 900})
    client.post(f"{SIGN_IN}?password=in-the-address", {"username": "otto", "password": "sandy-secret", **more})
    kept = str(list(AccessAttempt.objects.values())) + str(list(FleetEvent.objects.values()))
    assert "otto" in kept
    for secret in ("sandy-secret", "in-the-address", "aaaa", "bbbb", "cccc"):
        assert secret not in kept


def test_what_is_refused_while_locked_leaves_no_row():
    for number in range(throttle.ADDRESS_FAILURES + 10):
        attempt(f"name-{number}")
    assert AccessAttempt.objects.count() == throttle.ADDRESS_FAILURES


def test_a_name_that_is_too_long_is_neither_hashed_nor_kept(hashed):
    hashed.clear()
    assert attempt("n" * 151).status_code == 200
    assert hashed == []
    assert not AccessAttempt.objects.exists()


def test_old_attempts_go_and_where_people_signed_in_from_is_kept_for_a_while(settings):
    settings.EVENTS_KEPT_DAYS = 5
    fail(2)
    attempt(password=PASSWORD)
    fail(1)
    now = timezone.now()
    retention.clean_up(now + timedelta(hours=23), 60)
    assert AccessAttempt.objects.exists()
    retention.clean_up(now + timedelta(days=2), 60)
    assert not AccessAttempt.objects.exists()
    assert AccessLog.objects.exists()
    retention.clean_up(now + timedelta(days=6), 60)
    assert not AccessLog.objects.exists()


def test_a_program_of_ours_asks_without_a_request_and_is_not_counted():
    assert authenticate(username="otto", password="wrong") is None
    assert authenticate(username="otto", password=PASSWORD) is not None
    assert not AccessAttempt.objects.exists()


# What is written down.


def test_a_success_a_failure_and_a_lock_are_a_line_each(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "pools"):
        attempt(password=PASSWORD)
        fail(5)
    assert lines() == [record.getMessage() for record in caplog.records if record.name == "pools"]
    assert lines("signed_in") == [f"otto signed in from {HOME} (password)"]
    assert lines("wrong_password") == [f"a sign-in as otto from {HOME} failed: wrong name or password"] * 4
    (locked,) = lines("pair_locked")
    assert locked.startswith(f"a sign-in as otto from {HOME} failed: wrong name or password; the account from ")
    assert " is locked until " in locked
    event = FleetEvent.objects.get(code="pair_locked")
    assert (event.level, event.actor, event.data) == ("warning", "", {"account": "otto", "address": HOME})
    assert FleetEvent.objects.get(code="signed_in").actor == "otto"


def test_what_is_refused_while_locked_writes_nothing(caplog):
    """Neither do the process's own logs, of a request that Django answers with 429."""
    fail(5)
    before = lines()
    caplog.clear()
    fail(20)
    assert lines() == before
    assert caplog.messages == []


def test_a_flood_from_everywhere_is_a_few_lines_and_one_that_says_so():
    for number in range(60):
        attempt(f"name-{number}", address=f"198.51.100.{number}")
    assert len(lines()) == 31
    assert lines("many_failures") == [lines()[-1]]


def test_a_name_can_not_forge_a_line_or_fill_the_log():
    attempt("eve\n2026-11-27 INFO pools: all is well \x1b[2J\u202e")
    attempt("e" * 150)
    first, second = lines()
    assert "\n" not in first
    assert "\x1b" not in first
    assert "\u202e" not in first
    assert "eve\\u000a2026" in first
    assert len(second) < 150


def test_who_is_no_operator_fails_and_is_counted():
    User.objects.create_user("paul", password=PASSWORD)
    assert attempt("paul", PASSWORD).status_code == 200
    assert lines("not_staff") == [f"a sign-in as paul from {HOME} failed: the account is no operator's"]


def test_who_signs_in_and_from_where_is_for_operators_alone():
    """Everybody may read the rest of the log."""
    journal.record("turn", "a turn")
    attempt()
    attempt(password=PASSWORD)
    journal.record("turn", "another turn")
    told = [event.message for event in fleet_log.latest()]
    assert told == ["a turn", "another turn"]
    assert [event.message for event in fleet_log.events_after(0)] == told
    for path in ("/api/orchestrator/logs", "/api/orchestrator/logs?after=0", "/"):
        page = Client().get(path).content.decode()
        assert "a turn" in page
        assert HOME not in page
        assert "as otto" not in page


def alarms(client: Client) -> dict[str, str]:
    return {alarm.title: alarm.detail for alarm in client.get("/admin/").context["alarms"] if "ign-in" in alarm.title}


def test_locks_are_an_alarm_that_names_them(otto):
    client = Client()
    client.force_login(otto)
    assert alarms(client) == {}
    fail(5, address=STRANGER)
    (told,) = alarms(client).values()
    assert told.startswith(f"For otto from {STRANGER}.")
    fail(15, "others", address="192.0.2.1")
    fail(15, "more", address="192.0.2.1")
    fail(15, "many", address="192.0.2.1")
    fail(15, "even more", address="192.0.2.1")
    (told,) = [detail for title, detail in alarms(client).items() if "locked" in title]
    assert told.startswith(f"For everybody from 192.0.2.1, otto from {STRANGER}.")


def test_an_attack_from_everywhere_does_not_slow_the_index(otto, django_assert_max_num_queries):
    client = Client()
    client.force_login(otto)
    now = timezone.now()
    AccessAttempt.objects.bulk_create(
        AccessAttempt(username=f"name {number}", ip_address=f"10.0.{number % 250}.1", failures_since_start=5)
        for number in range(500)
    )
    with django_assert_max_num_queries(4):
        assert throttle.locked_now(now)
        assert throttle.lock_of("otto", HOME, now) is None


def test_many_failures_within_an_hour_are_an_alarm(otto):
    client = Client()
    client.force_login(otto)
    for number in range(20):
        attempt(f"name-{number}", address=f"198.51.100.{number}")
    assert list(alarms(client)) == ["20 sign-ins failed within an hour"]
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=61))
    assert alarms(client) == {}


def test_who_may_delete_failures_lifts_a_lock_in_the_admin(admin_client, otto):
    fail(5)
    row = AccessAttempt.objects.get()
    assert admin_client.get("/admin/axes/accessattempt/").status_code == 200
    assert admin_client.post(f"/admin/axes/accessattempt/{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert is_let_in(attempt(password=PASSWORD))


def test_secrets_of_second_factors_have_no_page_in_the_admin(admin_client):
    for path in ("otp_totp/totpdevice/", "otp_static/staticdevice/", "axes/accesslog/"):
        assert admin_client.get(f"/admin/{path}").status_code == 404


# Where it leads.


@pytest.mark.parametrize("page", [FLEET, f"{FLEET}?verdict=orphan", "/admin/pools/pool/", "/stats/", "/"])
def test_a_sign_in_leads_to_the_page_that_was_asked_for(page):
    assert attempt(password=PASSWORD, next=page)["Location"] == page


@pytest.mark.parametrize(
    "elsewhere",
    [
        "/admin/logout/", "/admin/login/", "/admin/login/?next=/admin/login/", "/admin/nowhere/", "/nowhere/",
        "/accounts/profile/", "https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)",
        "http://[", "/admin/\n", "",
    ],
)  # fmt: skip
def test_a_sign_in_never_leads_to_where_there_is_nothing(elsewhere):
    assert attempt(password=PASSWORD, next=elsewhere)["Location"] == "/admin/"


def test_who_may_not_see_the_page_is_told_so_and_not_led_around(otto):
    otto.groups.clear()
    client = Client()
    answer = client.post(f"{SIGN_IN}?next={FLEET}", {"username": "otto", "password": PASSWORD}, follow=True)
    assert answer.status_code == 403
    assert answer.redirect_chain == [(FLEET, 302)]


def test_who_pressed_a_button_after_their_session_ended_comes_back_to_its_page():
    """What the button is for can't be looked at: it answered 405."""
    page = f"{FLEET}?verdict=orphan"
    answer = Client(headers={"Referer": f"http://testserver{page}"}).post(f"{FLEET}turn/", {"reason": "a test"})
    assert answer.status_code == 302
    assert answer["Location"] == f"{SIGN_IN}?next=/admin/pools/fleet/%3Fverdict%3Dorphan"
    assert Client().get(answer["Location"]).context["next"] == page


def test_the_page_that_another_site_names_as_the_one_before_is_not_followed():
    answer = Client(headers={"Referer": "https://evil.example/"}).post(f"{FLEET}turn/", {"reason": "a test"})
    assert answer["Location"] == f"{SIGN_IN}?next=/admin/"


# How long it lasts.


@pytest.fixture
def signed_in() -> Client:
    client = Client(REMOTE_ADDR=HOME)
    assert is_let_in(client.post(SIGN_IN, {"username": "otto", "password": PASSWORD}))
    return client


def is_in(client: Client) -> bool:
    return client.get(FLEET).status_code == 200


def test_a_session_ends_so_many_hours_after_the_sign_in_however_busy_it_is(settings):
    settings.OPERATOR_SESSION_HOURS = 3
    with time_machine.travel(timezone.now(), tick=False) as clock:
        client = Client()
        client.post(SIGN_IN, {"username": "otto", "password": PASSWORD})
        for hour in range(2):
            clock.shift(timedelta(hours=1, minutes=20))
            assert is_in(client)
            session = client.session
            session["hour"] = hour  # what changes is saved
            session.save()
        clock.shift(timedelta(minutes=21))
        assert not is_in(client)


def test_the_browser_forgets_the_session_at_that_moment(signed_in):
    cookie = signed_in.cookies[site.SESSION_COOKIE_NAME]
    assert cookie["max-age"] == pytest.approx(12 * 3600, abs=60)
    ends_at = Session.objects.get().expire_date
    assert ends_at - datetime.now(tz=ends_at.tzinfo) <= timedelta(hours=12)


def test_a_session_ends_when_the_account_is_switched_off(signed_in, otto):
    assert is_in(signed_in)
    User.objects.update(is_active=False)
    assert not is_in(signed_in)


def test_the_other_sessions_end_when_the_password_is_changed(signed_in, otto):
    elsewhere = Client()
    elsewhere.force_login(otto)
    new = {"old_password": PASSWORD, "new_password1": "sunny-dunes-8", "new_password2": "sunny-dunes-8"}
    assert signed_in.post(reverse("admin:password_change"), new).status_code == 302
    assert is_in(signed_in)
    assert not is_in(elsewhere)


# Cookies.


def test_our_cookies_are_named_for_this_installation(signed_in):
    signed_in.get(FLEET)
    ours = {site.SESSION_COOKIE_NAME, site.CSRF_COOKIE_NAME, site.VISITOR_COOKIE_NAME, site.MESSAGES_COOKIE_NAME}
    assert len(ours) == 4
    assert set(signed_in.cookies) <= ours


def test_a_message_travels_in_a_cookie_of_that_name(signed_in):
    signed_in.post(f"{FLEET}maintenance/", {"turn": "on", "message": "Back soon.", "reason": "a test"})
    assert site.MESSAGES_COOKIE_NAME in signed_in.cookies
    assert "messages" not in signed_in.cookies


# What is refused.


def refusals(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if "403" in record.getMessage() or "Forbidden" in record.getMessage()]


def test_a_403_is_one_line_that_says_who_and_from_where(signed_in, otto, caplog):
    otto.groups.clear()
    assert signed_in.get(f"{FLEET}sweep/").status_code == 403
    (told,) = refusals(caplog)
    assert told.getMessage() == f"403: otto from {HOME} is not allowed to GET /admin/pools/fleet/sweep/"
    assert (told.levelno, told.exc_info) == (logging.WARNING, None)


def test_a_form_without_our_token_is_one_line_too(caplog):
    client = Client(enforce_csrf_checks=True, REMOTE_ADDR=STRANGER)
    assert client.post(SIGN_IN, {"username": "otto", "password": PASSWORD}).status_code == 403
    (told,) = refusals(caplog)
    assert told.getMessage() == (
        f"403: somebody from {STRANGER} sent a form without our token (CSRF cookie not set): POST /admin/login/"
    )


def test_what_a_client_is_suspected_of_is_one_line(monkeypatch, caplog):
    """As the handler in the settings writes it."""
    record = logging.LogRecord(
        "django.security.TooManyFieldsSent", logging.ERROR, "", 0, "too many", (), ("a", "b", "c")
    )
    for name in site.LOGGING["handlers"]["stderr"]["filters"]:
        assert site.LOGGING["filters"][name]["callback"](record)
    assert record.exc_info is None
