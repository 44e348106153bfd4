"""Every command on the pages about the API does what it says: they are run as they stand, from the top of the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator_site.testing import LocalArcade

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [page for page in ("api.md", "webhooks.md") if (CHECKOUT / "docs" / page).exists()]
DOCUMENTED = "http://127.0.0.1:8000"
PYTHON = ".venv/bin/python"
RECEIVER, NOBODY = "https://example.com/hooks", "http://127.0.0.1:9/hooks"  # names are not looked up in a test
COMMAND_SECONDS, STREAM_SECONDS = 60, 1
STREAM_WAS_CUT = 28  # curl's exit code
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


def commands_in(text: str) -> Iterator[str]:
    """The commands in the page's blocks, each in one piece."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language not in ("", "sh", "bash"):
            continue
        for command in re.sub(r"\\\n\s*", "", block).splitlines():
            if command.startswith(("curl ", PYTHON)):
                yield command


def status_said(command: str) -> str:
    """What the page says beside it, as a regular expression."""
    said = re.search(r"#\s*(\d{3})\b", command)
    return said[1] if said else r"2\d\d"


class Reader:
    """Somebody who reads a page and types each command, with what the answers before have told."""

    def __init__(self, site: LocalArcade, folder: Path) -> None:
        self.site = site
        self.headers = folder / "headers"
        self.known = {"KEY": site.make_key("admin")}

    def types(self, command: str) -> None:
        unknown = set(re.findall(r"\$\{?([A-Z_]+)", command)) - set(self.known)
        assert not unknown, f"nothing before says what {unknown} is: {command}"
        assert any(self._is_done(command) for _ in range(TRIES)), f"it is never done: {command}"

    def _is_done(self, command: str) -> bool:
        """Run it; False for an answer after which one reads again and repeats: the fleet does not stand still."""
        self.headers.unlink(missing_ok=True)
        line = command.replace(DOCUMENTED, self.site.url).replace(PYTHON, sys.executable)
        line = line.replace(RECEIVER, NOBODY)
        script = BASH.format(command=line, seconds=COMMAND_SECONDS, stream_seconds=STREAM_SECONDS)
        environment = self.site.environment | self.known | {"TOLD": str(self.headers), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            ["bash", "-c", script], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
        )
        told = f"{command}\n{done.stdout}\n{done.stderr}"
        is_stream = " -N " in command
        assert done.returncode == 0 or (is_stream and done.returncode == STREAM_WAS_CUT), told
        if not command.startswith("curl"):
            self._learn_key(done.stdout)
            return True
        headers = self.headers.read_text()
        status = headers.split()[1]
        answer = {} if is_stream else _json(done.stdout)
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
    commands = list(commands_in((CHECKOUT / "docs" / page).read_text()))
    assert len(commands) > 2, "this test reads the page"
    reader = Reader(site, tmp_path)
    for command in commands:
        reader.types(command)


def test_commands_are_read_in_one_piece_and_other_blocks_are_not():
    page = (
        "```json\ncurl no\n```\n```\ncurl -X POST http://x \\\n     -d '{}'\nRateLimit: 1\n```\n"
        "```json\ncurl no\n```\n`curl inline`\n"
    )
    assert list(commands_in(page)) == ["curl -X POST http://x -d '{}'"]


def test_a_status_beside_a_command_is_what_it_is_to_answer():
    assert status_said("curl http://x  # 404") == "404"
    assert re.fullmatch(status_said("curl http://x"), "201")
