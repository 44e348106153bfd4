"""Every command on the pages does what it says: they are run as they stand, from the top of each page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator_site.testing import LocalArcade
from tests.fixtures.documents import CHECKOUT, blocks_in, pages, text_of
from tests.fixtures.waiting import until

PAGES = [page for page in pages() if any(not block.why_not for block in blocks_in(text_of(page)))]
DOCUMENTED = "http://127.0.0.1:8000"
RECEIVER, NOBODY = "https://example.com/hooks", "http://127.0.0.1:9/hooks"  # names are not looked up in a test
COMMAND_SECONDS, STREAM_SECONDS = 60, 1
CUTS = {"curl": 28, "timeout": 124}  # the exit codes of what follows a stream, and is cut
TRIES = 8
# Each curl tells its status and its answer's headers in a file, and is cut when it follows a stream.
BASH = """
curl() {{
    local cut={seconds}
    case " $* " in *" -N "*) cut={stream_seconds} ;; esac
    command curl --silent --show-error --noproxy '*' --max-time "$cut" --dump-header "$TOLD" "$@"
}}
{command}
"""
# What later commands take from the answer to an earlier one.
FROM_ANSWERS = {"RUN": "run_id", "TOKEN": "token", "NEXT_CURSOR": "next_cursor", "DIGEST": "digest", "SECRET": "secret"}
# The ids that the pages name, and where those of this product are listed.
STAND_INS = {
    "5d0e5d4c": ("/api/runs?state=running", "run_id"),
    "0b7c6f3e-3c1e-4a53-9a0f-4f7f0c8e2f11": ("/api/webhooks", "id"),
    "sandbox-3fa9c1d2": ("/api/sandboxes?state=ready", "name"),
}
PRODUCT, CLIENT = f"{sys.executable} -m orchestrator_site", f"{sys.executable} -m arcade_client"
# How a page calls a program, and what is called here. What `make` would do is shown and not done.
PROGRAMS = {
    "curl": "curl",
    ".venv/bin/python manage.py": PRODUCT,
    "manage.py": PRODUCT,
    "sandbox-orchestrator": PRODUCT,
    "arcade follow": f"timeout {STREAM_SECONDS + 2} {CLIENT} follow",
    "arcade": CLIENT,
    "make": f"make --dry-run --directory={CHECKOUT}",
    ".ci/run": f"bash -n {CHECKOUT}/.ci/run",
}
ASSIGNED = re.compile(r"(?:[A-Z_]+=\S+ )*")


def called(command: str) -> tuple[str, str]:
    """The program that a command calls, as the page has it, and the command as it is run here."""
    assigned = ASSIGNED.match(command)[0]
    rest = command.removeprefix(assigned)
    for name, program in PROGRAMS.items():
        if f"{rest} ".startswith(f"{name} "):
            return name, assigned + program + rest.removeprefix(name)
    raise AssertionError(f"nobody here can run {command!r}: say before its block why, <!-- not run: … -->")


def status_said(command: str) -> str:
    """What the page says beside it, as a regular expression."""
    said = re.search(r"#\s*(\d{3})\b", command)
    return said[1] if said else r"2\d\d"


class Reader:
    """Somebody who reads a page and types each command, with what the answers before have told."""

    def __init__(self, site: LocalArcade, folder: Path) -> None:
        self.site = site
        self.headers = folder / "headers"
        self.key = site.make_key("admin")
        self.known = {"KEY": self.key, "ARCADE_KEY": self.key}

    def types(self, command: str) -> None:
        if exported := re.fullmatch(r"export ([A-Z_]+)=(\S+)", command):
            self.known[exported[1]] = self._as_here(exported[2])
            return
        unknown = set(re.findall(r"\$\{?([A-Z_]+)", command)) - set(self.known)
        assert not unknown, f"nothing before says what {unknown} is: {command}"
        assert any(self._is_done(command) for _ in range(TRIES)), f"it is never done: {command}"

    def _as_here(self, command: str) -> str:
        for documented, (path, field) in STAND_INS.items():
            if documented in command:
                command = command.replace(documented, self._first(path, field))
        return command.replace(DOCUMENTED, self.site.url).replace(RECEIVER, NOBODY)

    def _first(self, path: str, field: str) -> str:
        """Wait until there is one: a pool fills again in its own time."""
        ask = {"headers": {"X-API-Key": self.key}, "trust_env": False, "timeout": COMMAND_SECONDS}
        rows = until(lambda: rows_of(httpx.get(self.site.url + path, **ask).json()), f"{path} has one", seconds=60)
        return str(rows[0][field])

    def _is_done(self, command: str) -> bool:
        """Run it; False for an answer after which one reads again and repeats: the fleet does not stand still."""
        self.headers.unlink(missing_ok=True)
        name, line = called(self._as_here(command))
        script = BASH.format(command=line, seconds=COMMAND_SECONDS, stream_seconds=STREAM_SECONDS)
        environment = self.site.environment | self.known | {"TOLD": str(self.headers), "PATH": os.environ["PATH"]}
        environment["PYTHONPATH"] += f"{os.pathsep}{CHECKOUT / 'clients' / 'python'}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.site.folder, env=environment, capture_output=True, text=True, check=False
        )
        told = f"{command}\n{done.stdout}\n{done.stderr}"
        is_stream = " -N " in command or name == "arcade follow"
        assert done.returncode == 0 or (is_stream and done.returncode in CUTS.values()), told
        if name != "curl":
            self._learn_key(done.stdout)
            return True
        headers = self.headers.read_text()
        status = headers.split()[1]
        answer = {} if is_stream or "json" not in headers else _json(done.stdout)
        self._learn(answer, headers)
        if answer.get("code") == "plan_changed":
            return False
        assert re.fullmatch(status_said(command), status), told
        return True

    def _learn(self, answer: dict[str, Any], headers: str) -> None:
        self.known |= {name: answer[field] for name, field in FROM_ANSWERS.items() if answer.get(field)}
        if tag := re.search(r"^etag: (.*?)\r?$", headers, re.MULTILINE | re.IGNORECASE):
            self.known["ETAG"] = tag[1]
        if "secret" in answer:
            self.known["WEBHOOK"] = str(answer["id"])

    def _learn_key(self, printed: str) -> None:
        if key := re.match(r"key_([0-9a-f]+)_", printed):
            self.known["PREFIX"] = key[1]


def _json(text: str) -> dict[str, Any]:
    """An answer's body, also after its headers."""
    found = json.loads(text[text.index("{") :]) if "{" in text else {}
    return found if isinstance(found, dict) else {}


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """The rows of a list, by whatever name it goes."""
    return answer if isinstance(answer, list) else next(each for each in answer.values() if isinstance(each, list))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalArcade]:
    """The product as small as it is when nobody sets anything."""
    product = LocalArcade(
        tmp_path_factory.mktemp("site"), {"MAX_TOTAL_SANDBOXES": "3", "WEBHOOKS_MAY_GO_INSIDE": "true"}
    )
    try:
        product.start()
        yield product
    finally:
        product.stop()


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_the_page_works_in_its_order(site: LocalArcade, tmp_path: Path, page: str):
    commands = [command for block in blocks_in(text_of(page)) if not block.why_not for command in block.commands]
    reader = Reader(site, tmp_path)
    for command in commands:
        reader.types(command)


@pytest.mark.parametrize("command", ["docker compose up", "curls http://x", "make-believe"])
def test_a_command_that_nobody_here_can_run_is_not_passed_over(command: str):
    with pytest.raises(AssertionError, match="say before its block why"):
        called(command)


def test_a_command_keeps_what_is_set_for_it():
    assert called("PORT=1 manage.py check --x") == ("manage.py", f"PORT=1 {PRODUCT} check --x")


def test_a_status_beside_a_command_is_what_it_is_to_answer():
    assert status_said("curl http://x  # 404") == "404"
    assert re.fullmatch(status_said("curl http://x"), "201")
