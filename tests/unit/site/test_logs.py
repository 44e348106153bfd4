"""A log's lines: what they are about is told, what is secret is not."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest

from orchestrator_site import logs
from orchestrator_site.processes.supervisor import Terminal
from pools import request_ids
from pools.about import about

RUN = "1a2b3c4d-0000-4000-8000-000000000000"


def written(formatter: logging.Formatter, message: str, **fields: object) -> str:
    record = logging.makeLogRecord({"name": "pools", "levelname": "INFO", "msg": message, "created": 0.25, **fields})
    assert logs.note_where(record)
    return formatter.format(record)


LINE = logs.LineFormatter("{levelname} {name}: {message}{where}", style="{")


def test_a_line_tells_what_it_is_about_unless_its_words_do() -> None:
    with request_ids.answering("r-1"), about(run=RUN, sandbox="sandbox-1", pool=""):
        assert written(LINE, "it works") == "INFO pools: it works [request r-1] [run 1a2b3c4d] [sandbox-1]"
        assert written(LINE, "run 1a2b3c4d is in sandbox-1") == "INFO pools: run 1a2b3c4d is in sandbox-1 [request r-1]"
    assert written(LINE, "it works") == "INFO pools: it works"


def test_a_loggers_name_is_told_whatever_it_is_of() -> None:
    assert written(LINE, "a key is made", name="pools.api_key") == "INFO pools.api_key: a key is made"


def test_a_record_has_what_it_is_about_and_its_exception_as_fields() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        trouble = sys.exc_info()
    with request_ids.answering("r-1"), about(run=RUN), about(sandbox="sandbox-1", app=None):
        text = written(logs.JsonLines(), "it\nfails", exc_info=trouble)
    assert "\n" not in text
    record = json.loads(text)
    assert record["timestamp"] == "1970-01-01T00:00:00.250Z"
    assert record["message"] == "it\nfails"
    assert record["exception"].endswith("ValueError: two\nlines")
    assert (record["run"], record["sandbox"], record["request_id"]) == (RUN, "sandbox-1", "r-1")
    assert "app" not in record


def test_what_a_process_prints_is_a_record_a_line(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    said = logs.Said("stderr", "ERROR")
    print("one", "two", file=said)
    print('{"level": "INFO"}', file=said)
    print("without an end", end="", file=said)
    said.close()
    first, second, third = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["message"], second, third["message"]) == ("one two", {"level": "INFO"}, "without an end")


RUN_TOKEN = f"run_{'0a' * 32}"
DEEP = '{"a":' * 100_000


def test_no_field_of_a_record_tells_a_secret() -> None:
    with request_ids.answering(RUN_TOKEN), about(run=RUN, client=f"client {RUN_TOKEN}"):
        record = json.loads(written(logs.JsonLines(), "it works", name=f"pools.{RUN_TOKEN}", processName=RUN_TOKEN))
    assert (record["request_id"], record["client"], record["run"]) == ("run_…", "client run_…", RUN)
    assert RUN_TOKEN not in json.dumps(record)


def test_a_line_that_is_a_record_already_tells_no_secret_either() -> None:
    said = json.dumps({"message": "Bearer abcdefgh", "token": "0a", "n": [1, {"x": RUN_TOKEN}]})
    assert json.loads(logs.record_of("web", said)) == {"message": "Bearer …", "token": "…", "n": [1, {"x": "run_…"}]}


def test_a_line_that_only_begins_as_a_record_is_the_message_of_one() -> None:
    assert json.loads(logs.record_of("web", DEEP))["message"].startswith('{"a":{"a":')


def test_a_line_that_can_not_be_told_is_lost_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def record_of(process: str, line: str, level: str) -> str:
        return {"good": f"{process}: {line}"}[line]

    terminal, shown = Terminal(3, record_of), []
    monkeypatch.setattr(terminal, "_put", shown.append)
    terminal.relay("web", "32", io.BytesIO(b"bad\n\xff\ngood\n"))
    assert shown == ["web: good"]


def test_what_a_process_says_last_is_told_without_a_line_break_too() -> None:
    code = """
import sys
from orchestrator_site import logs
logs.begin("json")
print('{"a":' * 100_000, file=sys.stderr)
sys.stderr.write("the end")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    first, last = map(json.loads, ended.stderr.splitlines())
    assert first["message"].startswith('{"a":{"a":')
    assert last["message"] == "the end"
