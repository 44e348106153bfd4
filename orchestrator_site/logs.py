"""The log's lines, for people or as JSON (LOG_FORMAT): one record a line, with what it is about, without secrets."""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import socket
import sys
import threading
from datetime import UTC, datetime
from functools import cache
from logging import LogRecord
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from orchestrator_site import __version__
from orchestrator_site.command import NAME
from pools import clock, traces
from pools.about import known
from pools.redaction import redacted, redacted_fields
from pools.request_ids import current as current_request

LINE: Final = "line"
JSON: Final = "json"
SHORT_ID_CHARACTERS = 8  # as people read a run's id


def settings_of(form: str, level: str, is_news: Any, in_one_line: Any) -> dict[str, Any]:
    """LOGGING, for Django. `is_news` and `in_one_line` are filters of records."""
    stream = "ext://sys.__stderr__" if form == JSON else "ext://sys.stderr"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            LINE: {"()": LineFormatter, "fmt": "{asctime} {levelname} {name}: {message}{where}", "style": "{"},
            JSON: {"()": JsonLines},
        },
        "filters": {
            "news": {"()": "django.utils.log.CallbackFilter", "callback": is_news},
            "where": {"()": "django.utils.log.CallbackFilter", "callback": note_where},
            "in_one_line": {"()": "django.utils.log.CallbackFilter", "callback": in_one_line},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": stream,
                "formatter": form,
                "filters": ["in_one_line", "where"],
            }
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            **{name: {"level": level} for name in ("orchestrator_site", "pools", "games", "runs")},
            # Scanners ask by every name there is, and each would be a traceback.
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "django.security.csrf": {"level": "CRITICAL"},  # told by its page, too
            "django.request": {"filters": ["news"]},
            # It tells of every task that comes and goes; here that is for debugging.
            "django-q": {"level": "WARNING" if level == "INFO" else level},
            # That a collector is away is said once in a while, by us.
            "opentelemetry": {"level": "CRITICAL"},
            # A server that loads us has handlers of its own, for people.
            **({name: {"handlers": [], "propagate": True} for name in UVICORN} if form == JSON else {}),
        },
    }


UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")


def note_where(record: LogRecord) -> bool:
    """For a log's handler: give each record the request in which it was written, and what that was about."""
    line, request_id, about = record.getMessage(), current_request(), known()
    told = [f" [request {request_id}]"] if request_id else []
    run, sandbox = about.get("run", "")[:SHORT_ID_CHARACTERS], about.get("sandbox", "")
    told += [f" [run {run}]"] if run and run not in line else []
    told += [f" [{sandbox}]"] if sandbox and sandbox not in line else []
    record.where = "".join(told)
    return True


class LineFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: LogRecord) -> str:
        where, colon, told = super().format(record).partition(f"{record.name}: ")  # a logger's name may be of a key's
        return f"{where}{colon}{redacted(told)}" if colon else redacted(where)


class JsonLines(JsonFormatter):
    """A JSON object on one line, of the fields that docs/tracing-and-logs.md lists."""

    def format(self, record: LogRecord) -> str:
        found = fields(record.levelname, record.name, record.getMessage(), at_seconds=record.created)
        if record.processName != "MainProcess":
            found["process_name"] = record.processName
        if record.exc_info and record.exc_info[0] is not None:
            found["exception"] = str(self.formatException(record.exc_info))
        elif record.exc_text:
            found["exception"] = record.exc_text
        if record.stack_info:
            found["stack"] = record.stack_info
        if isinstance(status := getattr(record, "status_code", None), int):
            found["status"] = status
        return self.serialize_log_record(redacted_fields(found))


def fields(level: str, logger: str, message: str, *, at_seconds: float) -> dict[str, Any]:
    """One record, with all that is known where it is written; and with its secrets, so far."""
    at = datetime.fromtimestamp(at_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found = {"timestamp": at, "level": level, "logger": logger, "message": message}
    if request_id := current_request():
        found["request_id"] = request_id
    about = known()
    return {**found, **about, **traces.ids(), "process": role(), "pid": os.getpid(), **machine()}


def record_of(process: str, line: str, level: str = "INFO") -> str:
    """A record of a line that some process said; the same record where it is one already."""
    found = record_in(line) or fields(level, process, line, at_seconds=clock.wall()) | {"process": process}
    return json.dumps(redacted_fields(found))


def record_in(line: str) -> dict[str, Any]:
    """The record that a line is already; else none."""
    if not line.startswith("{"):
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@cache
def machine() -> dict[str, str]:
    return {"host": socket.gethostname(), "version": __version__}


@cache
def role() -> str:
    """What this process is, as people call it: `web`, or the command of manage.py that it runs."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.stem == "__main__" else program.stem
    if name in ("web_server", "daphne", "uvicorn"):
        return "web"
    return sys.argv[1] if name in ("manage", NAME) and len(sys.argv) > 1 else name


def begin(form: str) -> None:
    """For a process that is starting: with JSON, whatever it says on stderr is a record: warnings, what it dies of, and
    what somebody prints."""
    if form != JSON or isinstance(sys.stderr, Said):
        return
    sys.stderr = said = Said("stderr", "ERROR")
    atexit.register(said.close)
    logging.captureWarnings(capture=True)
    sys.excepthook = _died
    threading.excepthook = lambda it: _told("A thread died", it.exc_type, it.exc_value, it.exc_traceback)
    sys.unraisablehook = lambda it: _told("Something failed", it.exc_type, it.exc_value, it.exc_traceback)


def _died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _told("This process died", kind, error, trace)


def _told(what: str, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    record = logging.makeLogRecord({"name": "python", "levelno": logging.CRITICAL, "levelname": "CRITICAL"})
    record.msg, record.exc_info = f"{what} of {kind.__name__}: {error}", (kind, error or kind(), trace)
    _write(JsonLines().format(record))


def _write(line: str) -> None:
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{line}\n")  # in one piece: others write to it, too
        sys.__stderr__.flush()


class Said(io.TextIOBase):
    """A stream whose lines become records, on stderr: for those who print."""

    encoding = "utf-8"  # read by who prints

    def __init__(self, name: str, level: str) -> None:
        self.name, self.level = name, level
        self._begun = threading.local()  # each thread's own line: no lock that a fork could take along

    def write(self, text: str) -> int:
        *whole, rest = (getattr(self._begun, "text", "") + text).split("\n")
        self._begun.text = rest
        for line in filter(str.strip, whole):
            self._tell(line)
        return len(text)

    def close(self) -> None:
        if rest := getattr(self._begun, "text", ""):
            self._begun.text = ""
            self._tell(rest)

    def _tell(self, line: str) -> None:
        found = record_in(line) or fields(self.level, self.name, line, at_seconds=clock.wall())
        _write(json.dumps(redacted_fields(found)))

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        assert sys.__stderr__ is not None  # noqa: S101  there would be nothing to write to
        return sys.__stderr__.fileno()
