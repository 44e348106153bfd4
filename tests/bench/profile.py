"""Where the milliseconds of a launch go: `python -m tests.bench.profile`.

A profile of warm launches and of their pages, taken in this process over a database of its own, beside the stand-in for
sandboxes. A profiled call takes several times as long, so only the shares count. It is processor time of this process:
what PostgreSQL works, and all that is waited for, is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("ORCHESTRATOR_TEST_ROOT", tempfile.mkdtemp(prefix="orchestrator-bench-"))

from tests.bench.site import Site, private_postgres, site

LAUNCHES, FIRST = 100, 20
# The first that a file's path has in it names whose time it is.
LAYERS = {
    "/psycopg": "the database: psycopg",
    "/sqlite3": "the database: SQLite",
    "/django/db/": "Django's models and queries",
    "/django/": "Django: the rest",
    "/httpx/": "HTTP to the sandbox",
    "/httpcore/": "HTTP to the sandbox",
    "/h11/": "HTTP to the sandbox",
    "/anyio/": "HTTP to the sandbox",
    "/ssl.py": "HTTP to the sandbox",
    "/ninja/": "the API: Ninja and pydantic",
    "/pydantic": "the API: Ninja and pydantic",
    "/asgiref/": "threads and the event loop",
    "/asyncio/": "threads and the event loop",
    "/selectors.py": "threads and the event loop",
    "/threading.py": "threads and the event loop",
    "/concurrent/": "threads and the event loop",
    "/runs/": "the product itself",
    "/pools/": "the product itself",
    "/games/": "the product itself",
    "/orchestrator_site/": "the product itself",
}


@contextmanager
def profiled(profiles: list[cProfile.Profile]) -> Iterator[None]:
    """Profile every thread that begins from now on, and this one."""

    def begin(*_: Any) -> None:
        profile = cProfile.Profile(time.thread_time)
        profiles.append(profile)
        profile.enable()

    threading.setprofile(begin)
    begin()
    try:
        yield
    finally:
        profiles[0].disable()
        threading.setprofile(None)


class Snapshot:
    """A profile as pstats takes it. pstats itself would end it, and what a thread is just at would get our time."""

    def __init__(self, stats: dict[Any, Any]) -> None:
        self.stats = stats

    @classmethod
    def of(cls, profile: cProfile.Profile) -> Snapshot | None:
        """None for a thread that did nothing."""
        profile.snapshot_stats()
        return cls(profile.stats) if profile.stats else None

    def create_stats(self) -> None:
        """It has been."""


async def asked(application: Any, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of an answer of the ASGI application, as a server would ask it."""
    headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")]
    if body:
        headers.append((b"content-length", str(len(body)).encode()))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 50_000), "state": {},
    }  # fmt: skip
    given, parts, status = [{"type": "http.request", "body": body, "more_body": False}], [], 0
    never = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if given:
            return given.pop()
        await never.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    await application(scope, receive, send)
    return status, b"".join(parts)


async def launch(application: Any) -> None:
    status, body = await asked(application, "POST", "/api/launch/warm", b'{"game":"snake"}')
    assert status == 201, body
    run_id = body.split(b'"run_id": "')[-1].split(b'"')[0].decode()
    status, body = await asked(application, "GET", f"/play/{run_id}/")
    assert status == 200, body


def layer(file: str, name: str) -> str:
    if file == "~":
        return LAYERS["/psycopg"] if "psycopg" in name else "Python's built-ins"
    return next((title for part, title in LAYERS.items() if part in file), "Python's library, and the rest")


def shares(stats: pstats.Stats) -> list[tuple[str, float]]:
    """The processor time of each layer, largest first; a built-in's goes to whoever has called it."""
    found: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if file != "~" or not callers:
            found[layer(file, name)] += own
            continue
        for (caller_file, _, caller_name), (_, _, part, _) in callers.items():
            found[layer(caller_file, caller_name)] += part
    return found.most_common()


def run(made: Site, most: int) -> None:
    made.stock(LAUNCHES + FIRST)
    os.environ.update(made.environment)
    profiles: list[cProfile.Profile] = []
    with profiled(profiles):
        from orchestrator_site.asgi import application

        async def work() -> float:
            for _ in range(FIRST):
                await launch(application)
            for profile in profiles:
                profile.clear()
            began = time.process_time()
            for _ in range(LAUNCHES):
                await launch(application)
            return time.process_time() - began

        taken = asyncio.run(work())
    stats = pstats.Stats(*filter(None, map(Snapshot.of, profiles)), stream=sys.stdout)
    whole = stats.total_tt  # type: ignore[attr-defined]
    print(f"{1000 * taken / LAUNCHES:.1f} ms of processor a launch while it is profiled\n")
    print("| whose time | share | ms of processor, profiled |\n| --- | ---: | ---: |")
    for title, own in shares(stats):
        print(f"| {title} | {own / whole:.0%} | {1000 * own / LAUNCHES:.2f} |")
    print()
    stats.sort_stats("cumulative").print_stats(r"runs/|pools/|games/|orchestrator_site/", most)
    stats.sort_stats("tottime").print_stats(most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--most", type=int, default=30, help="how many functions to show")
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-bench-"))
    try:
        with private_postgres(folder) as postgres, site(wanted.database, folder / "site", postgres) as made:
            run(made, wanted.most)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(os.environ["ORCHESTRATOR_TEST_ROOT"], ignore_errors=True)


if __name__ == "__main__":
    main()
