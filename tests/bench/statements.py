"""What PostgreSQL was asked between two moments, from its own log: how many statements, and how long a row was held."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "%n|%p|%d|"
LINE = re.compile(
    r"^(?P<at>\d+\.\d+)\|(?P<pid>\d+)\|(?P<database>[^|]*)\|LOG:  duration: (?P<ms>[\d.]+) ms  "
    r"(?:statement|execute [^:]*): (?P<text>.*)$"
)
BEGINS = re.compile(r"\s*(BEGIN|START TRANSACTION)\b", re.IGNORECASE)
ENDS = re.compile(r"\s*(COMMIT|ROLLBACK|END)\b(?! TO)", re.IGNORECASE)
COMMITS = re.compile(r";\s*COMMIT\s*$", re.IGNORECASE)
CONTROLS = re.compile(r"\s*(BEGIN|START|COMMIT|ROLLBACK|END|SAVEPOINT|RELEASE)\b", re.IGNORECASE)
HOLDING = (
    r"\bUPDATE\s+(?:ONLY\s+)?\"?{table}\"?\s|\bINTO\s+\"?{table}\"?\s"
    r"|\bFROM\s+\"?{table}\"?\s[^()]*\bFOR (?:NO KEY )?UPDATE\b"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that ended at `at` (seconds) and took `ms`."""

    at: float
    pid: int
    ms: float
    text: str

    @property
    def is_control(self) -> bool:
        """Whether it only begins or ends a transaction, or a part of one."""
        return CONTROLS.match(self.text) is not None

    @property
    def count(self) -> int:
        """How many statements were sent in it, without those that only end or set up its transaction."""
        parts = [part.strip() for part in shape(self.text).split(";")]
        return sum(bool(part) and not CONTROLS.match(part) and not part.startswith("SET LOCAL ") for part in parts)


class Log:
    """The log of a server that writes each statement with its duration; `read` gives what is new."""

    def __init__(self, file: Path, database: str) -> None:
        self.file, self.database = file, database
        self.at = file.stat().st_size

    def skip(self) -> None:
        self.at = self.file.stat().st_size

    def read(self, *, without: Iterable[int] = ()) -> list[Statement]:
        with self.file.open("rb") as log:
            log.seek(self.at)
            text = log.read().decode(errors="replace")
            self.at = log.tell()
        return list(parsed(text.splitlines(), self.database, frozenset(without)))


def parsed(lines: Iterable[str], database: str, without: frozenset[int] = frozenset()) -> Iterator[Statement]:
    """The statements in a log's lines. One of several lines is joined again."""
    head: re.Match[str] | None = None
    rest: list[str] = []

    def whole() -> Iterator[Statement]:
        if head is not None and head["database"] == database and int(head["pid"]) not in without:
            text = " ".join([head["text"], *(line.strip() for line in rest)])
            yield Statement(float(head["at"]), int(head["pid"]), float(head["ms"]), text)

    for line in lines:
        if line.startswith("\t") and head is not None:
            rest.append(line)
            continue
        yield from whole()
        head, rest = LINE.match(line), []
    yield from whole()


def held_ms(statements: Iterable[Statement], table: str) -> list[float]:
    """How long each transaction held a row of the table: from the end of the statement that locked or changed it until
    the end of the commit. A statement that is a transaction of its own counts whole, and so do several that were sent
    together with their commit: these may have waited for the row as well, which the log does not tell apart."""
    holds = re.compile(HOLDING.format(table=re.escape(table)), re.IGNORECASE)
    is_open: set[int] = set()
    since: dict[int, float] = {}
    took: list[float] = []
    for statement in statements:
        pid = statement.pid
        if BEGINS.match(statement.text):
            is_open.add(pid)
        elif ENDS.match(statement.text):
            is_open.discard(pid)
            if pid in since:
                took.append(1000 * (statement.at - since.pop(pid)))
        elif holds.search(statement.text):
            if COMMITS.search(statement.text):
                is_open.discard(pid)
                since.pop(pid, None)
                took.append(statement.ms)
            elif pid in is_open:
                since.setdefault(pid, statement.at)
            else:
                took.append(statement.ms)
    return took


def shapes(statements: Iterable[Statement]) -> Counter[str]:
    """The statements without their values, each with how often it came."""
    return Counter(shape(statement.text) for statement in statements)


def shape(text: str) -> str:
    text = re.sub(r"'(?:[^']|'')*'(?:::\w+)?", "?", text)
    text = re.sub(r'(SAVEPOINT) "\w+"', r"\1", text)
    return re.sub(r"\b\d+\b", "?", text)
