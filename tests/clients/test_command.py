"""The command `arcade`, as a process of its own: against the real product, and a scripted server for the rest."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from arcade_client.webhook_signatures import signature_of

from orchestrator_site.testing import LocalArcade
from tests.clients.conftest import RUN, Reply, Script, cut, line, problem, reply, stream
from tests.fixtures.waiting import free_port, until

CLIENT = Path(__file__).parents[2] / "clients" / "python"
Command = Callable[..., subprocess.CompletedProcess[str]]
WHOLE_ID = str(RUN["run_id"])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a user whose state folder is empty."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(CLIENT),
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "TZ": "UTC",
    }


@pytest.fixture
def command(environment: dict[str, str]) -> Command:
    """`command("games", url=…, ARCADE_KEY=…)`: run to its end."""

    def run(*arguments: str, url: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "arcade_client", *arguments],
            env=environment | {"ARCADE_URL": url} | more,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


def said(done: subprocess.CompletedProcess[str]) -> Any:
    """What it said in JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_game_is_launched_shown_extended_and_ended_by_its_short_id(
    command: Command, arcade: LocalArcade, tmp_path: Path
):
    launched = said(command("launch", "snake", "--warm", "--wait", "90", "--json", url=arcade.url))
    assert (launched["state"], launched["token"][:4]) == ("running", "run_")
    beginning = launched["run_id"][:8]
    shown = command("show", beginning, url=arcade.url)
    assert launched["play_url"] in shown.stdout
    assert said(command("extend", beginning, "--json", url=arcade.url))["expires_at"] > launched["expires_at"]
    assert beginning in command("list", "--state", "running", url=arcade.url).stdout
    ended = command("end", beginning, url=arcade.url)
    assert (ended.returncode, "ended_by_api" in ended.stdout) == (0, True)
    kept = tmp_path / "state" / "arcade" / "tokens.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    followed = command("follow", launched["run_id"], "--json", url=arcade.url)
    assert [json.loads(each)["kind"] for each in followed.stdout.splitlines()][-1] == "end"


def test_who_has_no_token_is_refused_with_what_to_do(command: Command, arcade: LocalArcade, tmp_path: Path):
    run_id = said(command("launch", "snake", "--cold", "--json", url=arcade.url))["run_id"]
    stranger = command("end", run_id, url=arcade.url, XDG_STATE_HOME=str(tmp_path / "other"))
    assert stranger.returncode == 1
    assert stranger.stderr.startswith("arcade: not_yours: ")
    assert "Send the token" in stranger.stderr
    assert command("end", run_id, url=arcade.url).returncode == 0


def test_a_key_opens_what_it_is_good_for(command: Command, arcade: LocalArcade):
    key = arcade.make_key("read")
    assert command("plan", url=arcade.url, ARCADE_KEY=key).returncode == 0
    refused = command("plan", "--json", url=arcade.url)
    assert (refused.returncode, json.loads(refused.stderr)["error"]["code"]) == (1, "sign_in")


def test_a_webhook_is_looked_after_from_its_addition_to_its_removal(command: Command, arcade: LocalArcade):
    key = arcade.make_key("launch")

    def told(*arguments: str) -> Any:
        return said(command(*arguments, "--json", url=arcade.url, ARCADE_KEY=key))

    added = told("webhooks", "--add", "https://8.8.8.8/hooks", "--type", "run.ended")  # no name is looked up
    delivery = told("webhook", added["id"], "--test")
    assert [each["id"] for each in told("webhook", added["id"], "--deliveries")] == [delivery["id"]]
    assert told("webhook", added["id"], "--rotate")["secret"] != added["secret"]
    assert told("webhook", added["id"], "--disable")["disabled_code"] == "switched_off"
    told("webhook", added["id"], "--remove")
    assert told("webhooks") == []


def test_games_and_limits_are_tables_for_people_and_json_for_programs(command: Command, arcade: LocalArcade):
    games = command("games", url=arcade.url)
    assert games.stdout.splitlines()[0].split() == ["GAME", "TITLE", "RUNTIME", "READY", "NOW"]
    assert "snake" in {game["slug"] for game in said(command("--json", "games", url=arcade.url))}
    assert said(command("limits", "--json", url=arcade.url))["limits"]["max_total"] == 100
    assert "launches of the hour" in command("limits", url=arcade.url).stdout


def test_where_nobody_answers_it_says_so_within_seconds(command: Command):
    url, started = f"http://127.0.0.1:{free_port()}", time.monotonic()
    done = command("games", url=url)
    assert time.monotonic() - started < 25  # of 30
    assert done.returncode == 3
    assert done.stderr.startswith(f"arcade: Can't connect to {url}: ")
    assert len(done.stderr.splitlines()) == 1


def test_where_something_else_answers_it_says_so(command: Command, script: Script):
    script.says(reply({"hello": "world"}))
    assert command("games", url=script.url).returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["launch"],
        ["launch", "snake", "--warm", "--cold"],
        ["launch", "snake", "--label", "team"],
        ["launch", "snake", "--wait", "-1"],
        ["list", "--limit", "many"],
        ["pool", "python", "--target", "2"],
        ["plan", "--apply"],
        ["games", "--url", "arcade.test"],
        ["webhook-receiver"],
        ["webhooks", "--type", "run"],
        ["webhook"],
        ["webhook", "w1", "--enable", "--disable"],
        ["webhook", "w1", "--test", "--remove"],
        ["webhook", "w1", "--enable", "--test"],
        ["webhook", "w1", "--to", "https://example.com", "--redeliver", "msg_1"],
        ["sandbox", "sandbox-1", "--retire"],
        ["sandbox", "sandbox-1", "--force-delete", "sandbox-1"],
        ["sandbox", "sandbox-1", "--force-delete", "sandbox-2", "--reason", "It does not go."],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_a_usage_error_and_nothing_is_sent(
    command: Command, script: Script, arguments: list[str]
):
    done = command(*arguments, url=script.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: arcade" in done.stderr
    assert not script.asked


def test_a_launch_says_how_it_is_to_be_served(command: Command, script: Script):
    script.says(reply(RUN | {"token": "run_abc"}, 201))
    options = ["--on-miss", "fail", "--label", "team=a", "--label", "why=b=c", "--from-source"]
    launched = command("launch", "snake", *options, url=script.url)
    assert launched.returncode == 0
    assert "run_abc" not in launched.stdout
    assert script.asked[0].json == {
        "game": "snake", "mode": "auto", "on_miss": "fail", "use_snapshot": False,
        "labels": {"team": "a", "why": "b=c"},
    }  # fmt: skip


def test_the_token_that_was_kept_is_sent_and_a_key_comes_before_it(command: Command, script: Script):
    script.says(reply(RUN | {"token": "run_abc"}, 201), reply(RUN))
    command("launch", "snake", url=script.url)
    command("end", WHOLE_ID, url=script.url)
    command("end", WHOLE_ID, url=script.url, ARCADE_KEY="key_1")
    sent = [asked.headers.get("authorization") for asked in script.asked]
    assert sent == [None, "Bearer run_abc", "Bearer run_abc", "Bearer key_1", "Bearer key_1"]


def test_a_token_goes_to_no_other_arcade(command: Command, script: Script):
    script.says(reply(RUN | {"token": "run_abc"}, 201), reply(RUN))
    command("launch", "snake", url=script.url)
    command("end", WHOLE_ID, url=script.url.replace("127.0.0.1", "localhost"))
    assert [asked.headers.get("authorization") for asked in script.asked] == [None, None, None]


def listed(*run_ids: str) -> Any:
    return reply({"runs": [RUN | {"run_id": each} for each in run_ids], "has_more": False, "next_cursor": None})


def test_a_short_id_that_may_be_several_runs_is_a_usage_error(command: Command, script: Script):
    script.says(listed(WHOLE_ID, WHOLE_ID[:-1] + "f"))
    done = command("show", WHOLE_ID[:8], url=script.url)
    assert done.returncode == 2
    assert WHOLE_ID in done.stderr


def test_runs_are_listed_by_their_labels(command: Command, script: Script):
    script.says(listed(WHOLE_ID))
    done = command("list", "--label", "team=red", "--label", "ci/job", "--limit", "5", url=script.url)
    assert WHOLE_ID[:8] in done.stdout
    assert script.asked[0].path == "/api/runs?label=team%3Ared&label=ci%2Fjob&limit=100"


def test_a_short_id_of_nobodys_run_is_a_refusal(command: Command, script: Script):
    script.says(listed(WHOLE_ID))
    done = command("show", "ffff", url=script.url)
    assert (done.returncode, "no_such_run" in done.stderr) == (1, True)


def test_a_run_that_failed_has_an_exit_code_of_its_own(command: Command, script: Script):
    failed = RUN | {"state": "failed", "end_code": "port_taken", "end_reason": "Something holds the port."}
    script.says(reply(RUN | {"state": "acquiring"}, 201), reply(failed))
    done = command("launch", "snake", "--wait", url=script.url)
    assert (done.returncode, "holds the port" in done.stderr) == (4, True)
    assert WHOLE_ID in done.stderr


def test_a_run_that_does_not_get_ready_in_time_has_the_same(command: Command, script: Script):
    script.says(reply(RUN | {"state": "acquiring"}, 201))
    done = command("launch", "snake", "--wait", "0.2", "--json", url=script.url)
    assert done.returncode == 4
    assert json.loads(done.stderr)["error"] | {"detail": ""} == {
        "code": "waited_too_long", "detail": "", "run_id": WHOLE_ID,
    }  # fmt: skip


@pytest.mark.parametrize(("state", "code"), [("ended", 0), ("failed", 4)])
def test_following_shows_each_line_and_tells_how_it_ended(command: Command, script: Script, state: str, code: int):
    script.says(reply(RUN, 201), stream(line(1), is_cut=True), stream(line(2), line(3, "end", state=state)))
    done = command("launch", "snake", "--follow", url=script.url)
    assert done.returncode == code
    assert [each.split()[-1] for each in done.stdout.splitlines()[-3:]] == ["1", "2", "3"]


def test_what_a_game_prints_does_not_reach_the_terminal_as_it_is(command: Command, script: Script):
    end = line(2, "end", state="ended").replace("line 2", "\\u001b[2J\\r\\u009bbye")
    script.says(reply(RUN), stream(end))
    done = command("follow", WHOLE_ID, url=script.url)
    assert "bye" in done.stdout
    assert not {"\x1b", "\r", "\x9b"} & set(done.stdout)


COUNTS = {"ready": 1, "creating": 0, "in_use": 0}
POOL = {
    "name": "python", "mode": "active", "runtime": "python", "target_ready": 1, "max_ready": 4, "counts": COUNTS,
}  # fmt: skip


def test_pools_are_listed_changed_and_acted_on(command: Command, script: Script):
    script.says(reply({"pools": [POOL]}))
    assert command("pools", url=script.url).stdout.splitlines()[1].split() == [
        "python", "python", "active", "1", "0", "0", "0", "1", "4",
    ]  # fmt: skip
    script.says(reply(POOL, ETag='"7"'), reply(POOL | {"target_ready": 2}))
    assert said(command("pool", "python", "--target", "2", "--reason", "A class.", "--json", url=script.url)) == (
        POOL | {"target_ready": 2}
    )
    assert (script.asked[-1].method, script.asked[-1].headers["if-match"]) == ("PATCH", '"7"')
    script.says(reply(POOL), reply(POOL | {"message": "Its breaker is closed."}))
    acted = command("pool", "python", "--close-breaker", "--reason", "Repaired.", url=script.url)
    assert (acted.returncode, acted.stdout.splitlines()[-1]) == (0, "Its breaker is closed.")
    assert (script.asked[-1].path, script.asked[-1].json) == (
        "/api/pools/python/close-breaker", {"reason": "Repaired."},
    )  # fmt: skip


def test_a_plan_is_shown_and_applied(command: Command, script: Script):
    decision = {"kind": "create", "code": "demand", "name": "python", "reason": "create 1"}
    script.says(reply({"digest": "d1", "decisions": [decision]}), reply({"digest": "d1", "is_done": True}))
    done = command("plan", "--apply", "--reason", "Now.", url=script.url)
    assert done.returncode == 0
    assert "create 1" in done.stdout
    assert script.asked[1].json == {"digest": "d1", "reason": "Now."}


def test_usage_is_a_table_with_its_total(command: Command, script: Script):
    sums = {"launches": 3, "hits": 2, "in_use_seconds": 60.4, "in_use_usd": 0.01}
    script.says(reply({"by": "game", "rows": [sums | {"key": "snake"}], "total": sums}))
    lines = command("usage", "--by", "game", "--from", "2026-11-01", url=script.url).stdout.splitlines()
    assert [each.split() for each in lines[1:]] == [
        [name, "3", "2", "60", "0", "0.0100", "0.0000"] for name in ("snake", "total")
    ]
    assert script.asked[0].path == "/api/usage?from=2026-11-01&by=game"


HOOK = {"id": "w1", "url": "https://example.com/hooks", "scope": "own", "types": ["run"], "is_enabled": True}
DELIVERY = {"id": "msg_1", "type": "run.ended", "state": "failed", "attempts": 3, "last_status": 500}


def sent(script: Script) -> tuple[str, str, Any]:
    """What the last request was."""
    asked = script.asked[-1]
    return asked.method, asked.path, asked.json if asked.body else None


def test_webhooks_are_added_and_listed(command: Command, script: Script):
    script.says(reply(HOOK | {"secret": "whsec_x"}, 201))
    options = ["--add", "https://example.com/hooks", "--type", "run", "--type", "pool", "--scope", "all"]
    added = command("webhooks", *options, url=script.url)
    assert "whsec_x" in added.stdout
    body = {"url": "https://example.com/hooks", "types": ["run", "pool"], "scope": "all"}
    assert sent(script) == ("POST", "/api/webhooks", body)
    script.says(reply({"webhooks": [HOOK, HOOK | {"is_enabled": False, "disabled_code": "gone", "types": []}]}))
    rows = [each.split() for each in command("webhooks", url=script.url).stdout.splitlines()[1:]]
    assert rows == [
        ["w1", "https://example.com/hooks", "own", "run", "enabled"],
        ["w1", "https://example.com/hooks", "own", "all", "disabled:", "gone"],
    ]


def test_a_webhook_is_shown_and_changed(command: Command, script: Script):
    script.says(reply(HOOK))
    assert "https://example.com/hooks" in command("webhook", "w1", url=script.url).stdout
    options = ["--to", "https://b.example", "--type", "pool", "--description", "", "--disable", "--json"]
    assert said(command("webhook", "w1", *options, url=script.url)) == HOOK
    body = {"url": "https://b.example", "types": ["pool"], "description": "", "is_enabled": False}
    assert sent(script) == ("PATCH", "/api/webhooks/w1", body)


@pytest.mark.parametrize(
    ("act", "answer", "method", "path", "shown"),
    [
        (["--test"], reply(DELIVERY, 202), "POST", "/test", "msg_1"),
        (["--rotate"], reply({"secret": "whsec_new"}), "POST", "/rotate", "whsec_new"),
        (["--remove"], Reply(204), "DELETE", "", "Removed."),
        (["--redeliver", "msg_1"], reply(DELIVERY, 202), "POST", "/deliveries/msg_1/redeliver", "msg_1"),
        (
            ["--deliveries"],
            reply({"deliveries": [DELIVERY], "next": None}),
            "GET",
            "/deliveries?limit=100",
            "msg_1     run.ended  failed  3      500",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_webhook_is_acted_on(
    command: Command, script: Script, act: list[str], answer: Reply, method: str, path: str, shown: str
):
    script.says(reply(HOOK), answer)
    done = command("webhook", "w1", *act, url=script.url)
    assert (done.returncode, shown in done.stdout) == (0, True), done
    assert sent(script) == (method, f"/api/webhooks/w1{path}", None)


SANDBOX = {"name": "sandbox-1", "pool": "python", "state": "ready", "cost_usd": 0.0021}


def test_sandboxes_are_listed_shown_and_let_go(command: Command, script: Script):
    script.says(reply({"sandboxes": [SANDBOX] * 2, "has_more": True, "next_cursor": "b"}))
    listed = command("sandboxes", "--state", "ready", "--limit", "1", url=script.url)
    assert [each.split()[:3] for each in listed.stdout.splitlines()[1:]] == [["sandbox-1", "python", "ready"]]
    assert sent(script) == ("GET", "/api/sandboxes?state=ready&limit=100", None)
    script.says(reply(SANDBOX | {"message": "It goes."}))
    assert "0.002100 USD" in command("sandbox", "sandbox-1", url=script.url).stdout
    retired = command("sandbox", "sandbox-1", "--retire", "--reason", "It hangs.", url=script.url)
    assert "It goes." in retired.stdout
    assert sent(script) == ("POST", "/api/sandboxes/sandbox-1/retire", {"reason": "It hangs."})
    options = ["--force-delete", "sandbox-1", "--reason", "It does not go."]
    assert command("sandbox", "sandbox-1", *options, url=script.url).returncode == 0
    body = {"confirm": "sandbox-1", "reason": "It does not go."}
    assert sent(script) == ("POST", "/api/sandboxes/sandbox-1/force-delete", body)


def test_events_are_lines_until_interrupted(environment: dict[str, str], script: Script):
    event = {"seq": 1, "type": "run.ended", "run_id": "a"}
    script.says(reply({"events": [event], "after": 1}), reply({"events": [], "after": 1}))
    process = subprocess.Popen(
        [sys.executable, "-m", "arcade_client", "events", "--json"],
        env=environment | {"ARCADE_URL": script.url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert json.loads(process.stdout.readline()) == event
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")


def test_who_has_read_enough_may_go(environment: dict[str, str], script: Script):
    pages = [{"events": [{"seq": n, "type": "run.ended"}], "after": n, "has_more": True} for n in range(1, 500)]
    script.says(*map(reply, pages))
    process = subprocess.Popen(
        [sys.executable, "-m", "arcade_client", "events"],
        env=environment | {"ARCADE_URL": script.url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline().startswith("1 ")
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_where_no_token_can_be_kept_the_launch_still_is_told(command: Command, script: Script):
    script.says(reply(RUN | {"token": "run_abc"}, 201))
    done = command("launch", "snake", "--json", url=script.url, XDG_STATE_HOME="/dev/null")
    assert said(done)["token"] == "run_abc"
    assert "could not be kept" in done.stderr


def test_a_connection_that_is_cut_while_launching_makes_no_second_launch(command: Command, script: Script):
    script.says(cut(), problem(503, "unavailable", retryable=True), reply(RUN, 201))
    assert command("launch", "snake", url=script.url).returncode == 0
    assert len({asked.headers["idempotency-key"] for asked in script.asked}) == 1


def test_many_launches_at_once_lose_no_token(environment: dict[str, str], tmp_path: Path):
    code = (
        "import sys; from arcade_client.command.kept_tokens import KeptTokens\n"
        "for n in range(20): assert KeptTokens('http://a').keep(f'{sys.argv[1]}-{n}', 'run_x')"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(number)], env=environment) for number in range(3)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0, 0]
    assert len(json.loads((tmp_path / "state" / "arcade" / "tokens.json").read_text())) == 60


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_webhooks_are_received_verified_and_shown_once(environment: dict[str, str]):
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "arcade_client", "webhook-receiver"),
            *("--json", "--count", "2", "--port", str(port)),
        ],
        env=environment | {"ARCADE_WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: _listens(port), "it listens")
        bodies = [b'{"seq": 1}', b'{"seq": 2}']
        assert _deliver(port, "w1", bodies[0], "whsec_AAAA") == 401
        assert _deliver(port, "w1", bodies[0]) == 204
        assert _deliver(port, "w1", bodies[0]) == 204
        assert _deliver(port, "w2", bodies[1]) == 204
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert [json.loads(each) for each in output.splitlines()] == [{"seq": 1}, {"seq": 2}]


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64"])
def test_webhooks_are_not_received_with_a_secret_that_is_none(command: Command, secret: str):
    options = ["--count", "0", "--port", str(free_port())]
    done = command("webhook-receiver", *options, url="http://arcade.test", ARCADE_WEBHOOK_SECRET=secret)
    assert (done.returncode, "ARCADE_WEBHOOK_SECRET" in done.stderr) == (2, True)


def test_no_port_is_listened_on_that_is_none(command: Command):
    done = command("webhook-receiver", "--port", "65536", url="http://arcade.test", ARCADE_WEBHOOK_SECRET=SECRET)
    assert (done.returncode, "--port" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _deliver(port: int, delivery: str, body: bytes, secret: str = SECRET) -> int:
    now = str(int(time.time()))
    headers = {
        "webhook-id": delivery,
        "webhook-timestamp": now,
        "webhook-signature": signature_of(delivery, now, body, secret),
    }
    return httpx.post(
        f"http://127.0.0.1:{port}/", content=body, headers=headers, trust_env=False, timeout=10
    ).status_code
