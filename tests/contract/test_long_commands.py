"""Commands that take their time, on an agent as harsh as the sandbox images': told as they go, and ended for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pools.cloud import long_command
from pools.cloud.errors import AgentError, AgentUnavailable, CommandTimedOut
from pools.cloud.long_command import LINE_BYTES, CommandExit, Lines, SaysTooMuch, follow
from pools.cloud.sandbox_agent import CommandResult, SandboxAgent
from pools.localcloud.builder_agent import local_agent
from tests.fixtures.waiting import until

OK = CommandExit(0)


@pytest.fixture(scope="module")
def agent(sandbox_programs: Path) -> Iterator[SandboxAgent]:
    with local_agent(sandbox_programs, "python") as (url, token):
        yield SandboxAgent(url, token)


def is_alive(agent: SandboxAgent, pid: str) -> bool:
    """Whether it runs; the dead that nobody has buried yet do not."""
    state = agent.run(f"cat /proc/{pid}/stat 2>/dev/null || true").stdout.rpartition(")")[2].split()[:1]
    return state not in ([], ["Z"])


def test_lines_are_seen_while_the_command_still_runs(agent: SandboxAgent):
    said = follow(agent, "echo first; until [ -e go ]; do sleep 0.05; done; echo second >&2; exit 3")
    assert next(said) == "first"
    agent.run("touch go")
    assert list(said) == ["second", CommandExit(3)]


def test_a_command_knows_its_folder_and_its_environment(agent: SandboxAgent):
    agent.run("mkdir -p here")
    said = list(follow(agent, 'basename "$PWD"; echo "$WORD"', cwd="/workspace/here", env={"WORD": "é '\"$x"}))
    assert said == ["here", "é '\"$x", OK]


def test_a_line_of_any_length_is_one_and_what_follows_comes(agent: SandboxAgent):
    """One beyond 64 KiB broke the stream, and the launch said that the sandbox had stopped answering."""
    command = r"head -c 300000 /dev/zero | tr '\0' x; echo; echo after; printf 'no end'"
    long, *rest = follow(agent, command)
    assert long == "x" * LINE_BYTES
    assert rest == ["after", "no end", OK]


def test_bytes_that_are_no_text_are_told_as_far_as_they_go(agent: SandboxAgent):
    assert list(follow(agent, r"printf 'a\377b\000c\r\nd\n'")) == ["a\ufffdb\ufffdc", "d", OK]


def test_a_command_that_says_a_lot_without_a_pause_is_told_in_whole(agent: SandboxAgent):
    *lines, end = follow(agent, "seq 1 200000")
    assert end == OK
    assert lines == [str(number) for number in range(1, 200_001)]


def test_progress_on_one_line_is_told_now_and_then_and_its_end_always(
    agent: SandboxAgent, monkeypatch: pytest.MonkeyPatch
):
    assert list(follow(agent, r"printf '10%%\r50%%\r100%%\r\n'")) == ["100%", OK]
    monkeypatch.setattr(long_command, "PROGRESS_SECONDS", 0)
    said = follow(agent, r"printf '1%%\r2%%\r'; until [ -e on ]; do sleep 0.05; done; printf '99%%\n'")
    assert next(said) == "2%"
    agent.run("touch on")
    assert list(said)[-2:] == ["99%", OK]


def test_lines_are_cut_wherever_the_pieces_end():
    text = b"one\ntwo\r\nthr\xc3\xa9e\n10%\r20%\nlast"
    for size in range(1, len(text) + 1):
        lines = Lines(told_at=0)
        said = [line for at in range(0, len(text), size) for line in lines.add(text[at : at + size], now=0)]
        assert [*said, *lines.rest()] == ["one", "two", "thrée", "20%", "last"]


@pytest.mark.parametrize("command", ["while :; do echo more; sleep 0.1; done", "sleep 60", "sleep 60 & wait"])
def test_a_command_has_one_deadline_however_much_it_says_and_ends_with_all_that_it_started(
    agent: SandboxAgent, command: str
):
    """The agent's own counts silence, and ends the shell alone."""
    began = time.monotonic()
    with pytest.raises(CommandTimedOut, match="after 2 s"):
        list(follow(agent, f"echo $$ > leader; {command}", timeout_seconds=2))
    assert 2 <= time.monotonic() - began < 20
    leader = agent.run("cat leader").stdout.strip()
    until(lambda: not is_alive(agent, leader), "it has ended")
    until(lambda: "sleep 60" not in agent.run("pgrep -af '[s]leep 60' || true").stdout, "and what it started")


def test_a_command_ends_when_nobody_wants_to_hear_more(agent: SandboxAgent):
    said = follow(agent, "echo $$; sleep 60; echo never")
    pid = next(said)
    assert isinstance(pid, str)
    said.close()
    until(lambda: not is_alive(agent, pid), "it has ended")
    assert agent.run("ls /tmp/command-* 2>/dev/null || true").stdout == ""


def test_a_command_that_fills_the_disk_is_ended(agent: SandboxAgent, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(long_command, "OUTPUT_BYTES", 3 * 1024**2)
    with pytest.raises(SaysTooMuch, match="more than 3 MiB"):
        for _ in follow(agent, "yes"):
            pass
    until(lambda: agent.run("ps -C yes -o stat= | grep -v Z").exit_code != 0, "it has ended")


def answers(agent: SandboxAgent, monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any]) -> None:
    """Of looks and ends `answer` says what comes of them: an error, or None for what really comes."""
    run = SandboxAgent.run

    def run_or_not(self: SandboxAgent, command: str, **more: Any) -> CommandResult:
        if error := answer(command):
            raise error
        return run(self, command, **more)

    monkeypatch.setattr(SandboxAgent, "run", run_or_not)


def test_a_connection_that_breaks_for_a_while_loses_nothing(agent: SandboxAgent, monkeypatch: pytest.MonkeyPatch):
    troubles = iter([None, AgentUnavailable("?"), None, AgentUnavailable("?"), CommandTimedOut("?")])
    answers(agent, monkeypatch, lambda _: next(troubles, None))
    command = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done"
    assert list(follow(agent, command)) == ["1", "2", "3", "4", "5", "6", OK]


def test_an_agent_that_stays_away_is_said_to(agent: SandboxAgent, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(long_command, "UNREACHED_SECONDS", 0)
    answers(agent, monkeypatch, lambda command: AgentUnavailable("gone for good") if "tail" in command else None)
    with pytest.raises(AgentUnavailable, match="gone for good"):
        list(follow(agent, "sleep 60"))


def test_a_container_that_restarts_under_a_command_is_noticed(agent: SandboxAgent):
    said = follow(agent, "echo begun; sleep 60")
    assert next(said) == "begun"
    process = agent.processes()[-1]
    agent.run(f"rm {process.log_file}")
    with pytest.raises(AgentUnavailable, match="gone without a word"):
        list(said)


def test_a_command_that_is_killed_from_outside_is_no_success(agent: SandboxAgent):
    said = follow(agent, "echo $PPID; sleep 60")
    agent.run(f"kill -9 {next(said)}")
    with pytest.raises(AgentUnavailable, match="gone without a word"):
        list(said)


def test_what_can_not_be_started_is_an_error(agent: SandboxAgent):
    with pytest.raises(AgentError):
        list(follow(agent, "true", cwd="/workspace/nowhere"))
