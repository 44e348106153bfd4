"""The doctor's verdicts, and how it runs its checks."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from orchestrator_site.doctor import cloud, configuration, machine, reach, workers
from orchestrator_site.doctor.all_checks import CHECKS
from orchestrator_site.doctor.checks import Check, Finding, Seen, well
from orchestrator_site.doctor.codes import ADVICE, Code, Level
from orchestrator_site.doctor.examination import chosen, examine, stages
from orchestrator_site.doctor.report import exit_code, lines
from orchestrator_site.identity import proof
from pools.cloud.survey import ahead_seconds, requests_left, word_of
from tests.contract.stub_server import Reply, StubServer

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
IMAGE = "arcade/sandbox:1"


def test_each_code_has_advice_and_each_failure_something_to_do():
    assert set(ADVICE) == set(Code)
    assert [
        code for code, advice in ADVICE.items() if not advice.remedy and advice.level in (Level.FAILED, Level.WARNING)
    ] == []


def test_the_checks_name_only_each_other_and_none_waits_for_itself():
    names = {check.name for check in CHECKS}
    assert all({*check.needs, *check.after} <= names for check in CHECKS)
    assert len(names) == len(CHECKS)
    assert sum(map(len, stages(CHECKS))) == len(CHECKS)


def test_what_hangs_is_left_behind_and_what_needs_it_is_skipped():
    def hang(_: Seen) -> Finding:
        time.sleep(600)
        return well("")

    checks = [
        Check("slow", hang),
        Check("after", lambda _: well(""), needs=("slow",)),
        Check("free", lambda _: well("")),
    ]
    found = examine(checks, stage_seconds=0.2)
    assert {name: finding.code for name, finding in found.items()} == {
        "slow": Code.NO_ANSWER, "after": Code.SKIPPED, "free": Code.OK,
    }  # fmt: skip


def test_stages_that_hang_one_after_the_other_end_in_time():
    checks = [Check(f"{n}", lambda _: time.sleep(600), after=(f"{n - 1}",) if n else ()) for n in range(9)]
    began = time.monotonic()
    found = examine(checks, stage_seconds=20, total_seconds=0.5)
    assert time.monotonic() - began < 15
    assert {finding.code for finding in found.values()} == {Code.NO_ANSWER}


def test_a_check_that_breaks_hides_no_other():
    def broken(_: Seen) -> Finding:
        raise KeyError("x")

    found = examine([Check("one", broken), Check("two", lambda _: well("fine"), after=("one",))])
    assert (found["one"].code, found["two"].code) == (Code.BROKEN, Code.OK)
    assert exit_code(found) == 1


def test_those_that_are_chosen_bring_what_they_need():
    assert [check.name for check in chosen(CHECKS, ["writable"])] == ["database", "migrations", "writable"]
    assert chosen(CHECKS, []) == list(CHECKS)


def test_a_warning_is_no_failure_and_a_remedy_is_told():
    found = {"hosts": Finding(Code.HOSTS_OPEN, "open.\nTo all"), "https": well("http")}
    assert exit_code(found) == 0
    assert lines(found, quiet=True) == [
        f"warning  hosts              open. To all. To do: {ADVICE[Code.HOSTS_OPEN].remedy}"
    ]


@pytest.mark.parametrize(
    ("status", "scope", "said"),
    [(401, "app:delete", "token_refused"), (403, "app:delete", "scope_missing"), (404, "app:delete", "yes"),
     (200, "app:delete", "no"), (400, "app:create", "yes"), (422, "app:create", "yes")],
)  # fmt: skip
def test_what_a_status_says_of_a_scope(status: int, scope: str, said: str):
    assert word_of(status, {"app:delete": (404,), "app:create": (400, 422)}[scope]) == said


def test_headers_that_can_t_be_read_say_nothing():
    assert ahead_seconds({"date": "Sat, 28 Nov 2026 12:00:00 GMT"}, NOW.timestamp() + 90.5) == 90
    assert [ahead_seconds(headers, 0.0) for headers in ({}, {"date": "soon"})] == [None, None]
    assert [requests_left({"ratelimit-remaining": told}) for told in ("7", "-1", "½", "")] == [7, None, None, None]


@pytest.mark.parametrize(("free", "code"), [(63, "disk_full"), (64, "disk_low"), (1023, "disk_low"), (1024, "ok")])
def test_how_much_space_is_enough(free: int, code: str):
    assert machine.space(free * machine.MIB, Path("/var")).code == code


@pytest.mark.parametrize(("free", "of", "code"), [(99, 9000, "inodes_gone"), (100, 9000, "inodes_low"), (0, 0, "ok")])
def test_how_many_files_are_enough(free: int, of: int, code: str):
    assert machine.files_left(free, of, Path("/var")).code == code


@pytest.mark.parametrize(("seconds", "code"), [(5.0, "ok"), (-5.0, "ok"), (5.1, "clock_off"), (-90, "clock_off")])
def test_which_clock_is_off(seconds: float, code: str):
    assert machine.time_of({"the cloud's": seconds}, {}).code == code


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("short", "characters"),
        ("ab" * 30, "repeats"),
        ("django-insecure-" + "abcdefgh" * 9, "begins"),
        ("x7Kq-" * 12, ""),
    ],
)
def test_which_secret_key_is_weak(key: str, why: str):
    assert why in configuration.weakness(key)
    assert bool(configuration.weakness(key)) == bool(why)


def test_https_that_nobody_speaks_and_an_address_that_no_sandbox_reaches(settings):
    settings.PUBLIC_URL, settings.TRUSTED_PROXIES = "https://arcade.example.com", 0
    assert configuration.https(Seen({})).code is Code.HTTPS_WITHOUT_PROXY
    settings.TRUSTED_PROXIES = 1
    assert configuration.https(Seen({})).code is Code.OK
    settings.CLOUD_IS_EMBEDDED, settings.DIGITALOCEAN_API_URL = False, "https://api.digitalocean.com"
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    assert configuration.https(Seen({})).code is Code.PUBLIC_URL_LOCAL


def test_debug_is_for_this_machine_alone(settings):
    settings.DEBUG, settings.PUBLIC_URL = True, "http://127.0.0.1:8000"
    assert configuration.hosts(Seen({})).code is Code.OK
    settings.PUBLIC_URL = "http://arcade.example.com"
    assert configuration.hosts(Seen({})).code is Code.DEBUG_IS_PUBLIC


def test_a_turn_is_old_after_three_minutes():
    ages = [timedelta(seconds=180), timedelta(seconds=181)]
    assert [workers.last_turn(NOW - age, NOW).code for age in ages] == [Code.OK, Code.TURNS_STOPPED]
    assert workers.last_turn(None, NOW).code is Code.TURNS_STOPPED


def test_a_price_is_compared_with_ours():
    assert cloud.priced({"apps-s-1vcpu-1gb"}, {"apps-s-1vcpu-1gb": Decimal("12.00")}).code is Code.OK
    assert cloud.priced({"apps-s-1vcpu-1gb"}, {"apps-s-1vcpu-1gb": Decimal("13.00")}).code is Code.PRICE_DIFFERS
    assert cloud.priced({"apps-s-9vcpu"}, {"apps-s-9vcpu": Decimal(90)}).code is Code.PRICE_DIFFERS


def test_nothing_but_a_nonce_is_signed():
    assert len(proof("0" * 32)) == 64
    assert [proof(wrong) for wrong in ("", "0" * 31, "local:" + "0" * 26, "G" * 32, "0" * 32 + "\n")] == [""] * 5


def test_what_a_sandbox_fetched_is_compared():
    assert reach.fetched("sandbox-1", '{"proof": "abc"}', "", "abc").code is Code.OK
    refused = reach.fetched("sandbox-1", "", "Traceback\nURLError: refused\n", "abc")
    assert (refused.code, "URLError: refused" in refused.found) == (Code.SANDBOX_CUT_OFF, True)


def test_an_error_of_a_certificate_is_told_from_others():
    def raised(error: Exception) -> httpx.ConnectError:
        try:
            raise httpx.ConnectError("no") from error
        except httpx.ConnectError as found:
            return found

    assert reach.is_of_certificate(raised(ssl.SSLCertVerificationError("expired")))
    assert not reach.is_of_certificate(raised(ConnectionRefusedError("refused")))


@pytest.mark.parametrize(
    ("token", "manifest", "code"),
    [
        (Reply(200, {"token": "t"}), Reply(200, {}), Code.OK),
        (Reply(403, {}), Reply(200, {}), Code.IMAGE_PRIVATE),
        (Reply(200, {"token": "t"}), Reply(401, {}), Code.IMAGE_PRIVATE),
        (Reply(200, {"token": "t"}), Reply(404, {}), Code.IMAGE_GONE),
        (Reply(500, {}), Reply(200, {}), Code.REGISTRY_UNREACHABLE),
        (Reply(200, []), Reply(200, {}), Code.REGISTRY_UNREACHABLE),
        (Reply(hang_up=True), Reply(200, {}), Code.REGISTRY_UNREACHABLE),
    ],
)
def test_an_image_is_pulled_as_everybody_would(token: Reply, manifest: Reply, code: Code):
    registry = StubServer()
    try:
        registry.on("GET", "/token", token)
        registry.on("GET", "/v2/arcade/sandbox/manifests/1", manifest)
        assert cloud.pulled(registry.url, IMAGE).code is code
    finally:
        registry.stop()
