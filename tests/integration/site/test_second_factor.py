"""The second factor: who has one gives a code; who needs one sets it up before anything else."""

from __future__ import annotations

import html
import re
from base64 import b32decode
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from orchestrator_site.sign_in import second_factor
from pools.models import FleetEvent
from pools.reasons import LogKind

pytestmark = pytest.mark.django_db
SIGN_IN, FACTOR, FLEET, PLAN = "/admin/login/", "/admin/second-factor/", "/admin/pools/fleet/", "/api/pool/plan"
PASSWORD = "sandy-shores-7"
HOME = "203.0.113.7"


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    """Codes are of a time, which the tests set."""
    with time_machine.travel(timezone.now(), tick=False) as travelling:
        yield travelling


@pytest.fixture
def otto() -> User:
    return User.objects.create_superuser("otto", password=PASSWORD)


class Phone:
    """An authenticator app; no code is shown twice, as a person would wait for the next one."""

    def __init__(self, key: bytes, clock: Any) -> None:
        self.key, self.clock = key, clock

    def code(self) -> str:
        self.clock.shift(30)
        return f"{totp(self.key):06d}"


@pytest.fixture
def phone(otto: User, clock: Any) -> Phone:
    """Otto's second factor is on."""
    device = TOTPDevice.objects.create(user=otto, name="app", confirmed=True)
    second_factor.new_recovery_codes(otto)
    return Phone(device.bin_key, clock)


def attempt(code: str = "", password: str = PASSWORD, client: Client | None = None) -> Any:
    client = client or Client(REMOTE_ADDR=HOME)
    return client.post(SIGN_IN, {"username": "otto", "password": password, "code": code})


def signed_in(code: str = "") -> Client:
    client = Client(REMOTE_ADDR=HOME)
    assert attempt(code, client=client).status_code == 302
    return client


def is_in(client: Client) -> bool:
    return client.get(FLEET).status_code == 200


def codes() -> list[str]:
    """What the log says about signing in, oldest first."""
    return list(FleetEvent.objects.filter(kind=LogKind.SIGN_IN).order_by("seq").values_list("code", flat=True))


# Signing in.


def test_who_has_none_signs_in_with_the_password_alone(otto):
    assert is_in(signed_in())


def test_who_has_one_gives_a_code_as_well(phone):
    assert attempt().status_code == 200
    assert is_in(signed_in(phone.code()))
    assert codes() == ["no_code", "signed_in"]
    assert FleetEvent.objects.get(code="signed_in").message == f"otto signed in from {HOME} (password and code)"


def test_a_code_is_taken_as_people_write_it(phone):
    code = phone.code()
    assert is_in(signed_in(f" {code[:3]} {code[3:]} "))


def test_a_code_without_the_password_says_nothing_about_the_code(phone):
    answer = attempt(phone.code(), password="wrong")
    assert "code" not in "".join(answer.context["form"].non_field_errors())
    assert codes() == ["wrong_password"]


def test_a_code_is_good_for_one_sign_in(phone):
    code = phone.code()
    signed_in(code)
    assert attempt(code).status_code == 200


def test_a_recovery_code_is_good_for_one_sign_in(phone, otto):
    code = StaticToken.objects.first().token
    assert is_in(signed_in(f"{code[:4]}-{code[4:]}".upper()))
    assert attempt(code).status_code == 200
    assert second_factor.recovery_codes_left(otto) == 9


def test_wrong_codes_count_as_failed_sign_ins(phone, clock):
    for _ in range(5):
        clock.shift(60)
        answer = attempt("000000")
    assert answer.status_code == 429
    assert attempt(phone.code()).status_code == 429
    assert codes() == ["wrong_code"] * 4 + ["pair_locked"]


def test_codes_are_not_tried_one_after_the_other(phone):
    attempt("000000")
    answer = attempt("000001")
    assert "Too many codes were wrong. Try again in 1 s." in answer.content.decode()


def test_wrong_codes_from_elsewhere_leave_recovery_codes_usable(phone):
    attempt("000000")
    assert is_in(signed_in(StaticToken.objects.first().token))


def test_no_code_is_written_down(phone):
    attempt("123456")
    signed_in(phone.code())
    assert "123456" not in str(list(FleetEvent.objects.values()))


# Setting it up.


def secret_on(page: str) -> bytes:
    return b32decode(re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', page)[1].replace(" ", ""))


def set_up(client: Client, clock: Any) -> tuple[Phone, Any]:
    phone = Phone(secret_on(client.get(FACTOR).content.decode()), clock)
    return phone, client.post(FACTOR, {"code": phone.code()})


def test_a_person_sets_it_up_and_gets_recovery_codes_once(otto, clock):
    client = signed_in()
    phone, answer = set_up(client, clock)
    told = re.findall(r'<code class="secret">([a-z2-7]+)</code>', answer.content.decode())
    assert sorted(told) == sorted(StaticToken.objects.values_list("token", flat=True))
    assert len(told) == 10
    assert not any(code in client.get(FACTOR).content.decode() for code in told)
    assert is_in(client)
    assert attempt().status_code == 200
    assert is_in(signed_in(phone.code()))
    assert codes()[:2] == ["signed_in", "second_factor_on"]


def test_the_page_shows_the_secret_as_a_picture_and_as_text(otto):
    page = signed_in().get(FACTOR).content.decode()
    assert '<img class="qr"' in page
    assert 'src="data:image/svg+xml' in html.unescape(page)
    assert len(secret_on(page)) == 20


def test_a_secret_stays_the_same_until_it_is_confirmed(otto):
    client = signed_in()
    first = secret_on(client.get(FACTOR).content.decode())
    answer = client.post(FACTOR, {"code": "000000"})
    assert "This code is wrong" in answer.content.decode()
    assert secret_on(client.get(FACTOR).content.decode()) == first
    assert not second_factor.has_one(otto)


def test_nothing_of_the_page_is_kept_by_a_browser(otto):
    assert "no-store" in signed_in().get(FACTOR)["Cache-Control"]


def test_sessions_from_before_it_was_set_up_end(otto, clock):
    """Whoever has got hold of one is out; of the API, too."""
    old, client = signed_in(), signed_in()
    set_up(client, clock)
    assert is_in(client)
    assert client.get(PLAN).status_code == 200
    assert not is_in(old)
    assert old.get(PLAN).status_code == 401
    assert old.get(FACTOR).status_code == 302


def test_it_is_removed_with_a_code_and_not_without(phone, otto):
    client = signed_in(phone.code())
    client.post(FACTOR, {"act": "remove", "code": "000000"})
    assert second_factor.has_one(otto)
    phone.clock.shift(60)
    assert client.post(FACTOR, {"act": "remove", "code": phone.code()}).status_code == 302
    assert not second_factor.has_one(otto)
    assert not StaticDevice.objects.exists()
    assert codes()[-1] == "second_factor_off"


def test_new_recovery_codes_replace_the_old_ones(phone, otto):
    old = set(StaticToken.objects.values_list("token", flat=True))
    signed_in(phone.code()).post(FACTOR, {"act": "renew", "code": phone.code()})
    new = set(StaticToken.objects.values_list("token", flat=True))
    assert len(new) == 10
    assert not new & old
    assert codes()[-1] == "recovery_codes"


@pytest.mark.parametrize("staff", [False, True])
def test_the_page_is_for_operators_who_have_signed_in(staff, otto):
    client = Client()
    if staff:
        client = signed_in()
    assert client.get(FACTOR).status_code == (200 if staff else 302)


# Required.


@pytest.fixture
def required(settings) -> None:
    settings.REQUIRE_SECOND_FACTOR = True


@pytest.mark.parametrize("path", ["/admin/", FLEET, "/admin/password_change/", "/admin/nowhere/", SIGN_IN])
def test_who_needs_one_and_has_none_reaches_nothing_but_its_page(required, otto, path):
    client = signed_in()
    for ask in (client.get, client.post):
        if (path, ask) != (SIGN_IN, client.post):
            answer = ask(path)
            assert (answer.status_code, answer["Location"]) == (302, FACTOR)
    assert client.get(PLAN).status_code == 401
    assert client.get(FACTOR).status_code == 200


def test_after_the_set_up_everything_is_open(required, otto, clock):
    client = signed_in()
    phone, _ = set_up(client, clock)
    assert is_in(client)
    assert is_in(signed_in(phone.code()))


def test_who_has_yet_to_set_it_up_can_sign_out(required, otto):
    client = signed_in()
    page = client.get(FACTOR).content.decode()
    assert "otto, every operator here needs a second factor" in page
    assert 'action="/admin/logout/"' in page
    assert client.post("/admin/logout/").status_code in (200, 302)
    assert client.get(FACTOR)["Location"].startswith(SIGN_IN)


def test_who_has_one_is_not_stopped_by_that_it_is_required(required, phone):
    assert is_in(signed_in(phone.code()))


def test_sessions_without_one_are_led_to_it_when_it_becomes_required(otto, settings):
    client = signed_in()
    assert is_in(client)
    settings.REQUIRE_SECOND_FACTOR = True
    assert client.get(FLEET)["Location"] == FACTOR


# A lost phone.


def test_the_command_line_takes_it_away_and_writes_that_down(phone, otto, capsys):
    client = signed_in(phone.code())
    call_command("second_factor", "otto")
    assert capsys.readouterr().out == "otto: a second factor, 10 recovery codes left\n"
    call_command("second_factor", "otto", "--remove")
    assert not second_factor.has_one(otto)
    assert is_in(signed_in())
    assert is_in(client), "who is signed in is who they were"
    event = FleetEvent.objects.get(code="second_factor_off")
    assert event.message == "Second factor removed for otto: by manage.py second_factor"
    assert event.actor.endswith("command line)")


def test_the_command_line_names_who_is_not_there(otto):
    with pytest.raises(CommandError, match="no account 'nora'"):
        call_command("second_factor", "nora", "--remove")
    with pytest.raises(CommandError, match="otto has no second factor"):
        call_command("second_factor", "otto", "--remove")
