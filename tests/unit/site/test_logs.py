"""A log's lines: what they are about is told, what is secret is not."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from orchestrator_site import logs
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
