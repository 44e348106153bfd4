"""SECRET_KEY changes step by step under two machines, one after the other: nobody notices."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runs.webhooks.signing import why_refused
from tests.fixtures.databases import Database
from tests.fixtures.local_cloud import TOKEN
from tests.fixtures.machines import Account
from tests.fixtures.stack import MANAGE, Stack
from tests.fixtures.waiting import until
from tests.integration.webhooks.receiver import Receiver

pytestmark = pytest.mark.chaos  # minutes; each step is in test_rotate_secret_key.py, too
FIRST = "the first key " * 5


@pytest.fixture
def machines(tmp_path: Path, shared_account: Account, shared_database: Database) -> Iterator[tuple[Stack, Stack]]:
    """Two on one database, whose keys are files that both read; the first one runs."""
    for name in ("key", "keys"):
        (tmp_path / name).write_text(FIRST)
    made: list[Stack] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        settings = {
            "DATABASE_URL": shared_database.environment["DATABASE_URL"],
            "SECRET_KEY_FILE": str(tmp_path / "key"),
            "SECRET_KEY_FALLBACKS_FILE": str(tmp_path / "keys"),
            "DIGITALOCEAN_TOKEN": TOKEN,
            "DIGITALOCEAN_API_URL": shared_account.url,
            "ORCHESTRATOR_ID": "test",
            "MAX_EXTENSIONS": "50",
            "WEBHOOKS_MAY_GO_INSIDE": "true",
        }
        made.append(Stack(tmp_path / name, **settings))
        made[-1].env(PUBLIC_URL=made[0].url)
    made[0].start()
    yield made[0], made[1]
    for stack in made:
        stack.close()
        print(stack.log)


class Guests:
    """A player in a run, an operator who is signed in, and a program with a key and a webhook."""

    def __init__(self, stack: Stack, receiver: Receiver) -> None:
        self.browser, self.operator, self.program = (httpx.Client(timeout=60, trust_env=False) for _ in range(3))
        self.browser.get(stack.url)
        sent = {"game": "snake", "mode": "cold", "use_snapshot": False}
        launched = self.browser.post(f"{stack.url}/api/launch", json=sent).json()
        self.run, self.token = launched["run_id"], launched["token"]
        until(lambda: self.state(stack) == "running", "the game runs", seconds=120)
        page = self.operator.get(f"{stack.url}/admin/login/")
        form = {"username": "operator", "password": stack.operator_password}
        form["csrfmiddlewaretoken"] = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        self.operator.post(f"{stack.url}/admin/login/?next=/admin/", data=form, headers={"Referer": stack.url})
        made = stack.manage("api_key", "make", "a program", "--scope", "admin")
        key = next(word for word in made.stdout.split() if word.startswith("key_"))
        self.program.headers["Authorization"] = f"Bearer {key}"
        asked = {"url": receiver.url, "types": ["run.ended"], "scope": "all"}
        self.secret = self.program.post(f"{stack.url}/api/webhooks", json=asked).json()["secret"]

    def state(self, stack: Stack) -> str:
        return self.browser.get(f"{stack.url}/api/runs/{self.run}").json()["state"]

    def are_at_home(self, stack: Stack) -> None:
        assert self.state(stack) == "running"
        assert self.browser.get(f"{stack.url}/play/{self.run}/", follow_redirects=True).status_code == 200
        assert self.browser.post(f"{stack.url}/api/runs/{self.run}/extend").status_code == 200, "it is still theirs"
        holder = httpx.Client(timeout=60, trust_env=False, headers={"Authorization": f"Bearer {self.token}"})
        assert holder.post(f"{stack.url}/api/runs/{self.run}/extend").status_code == 200
        assert self.operator.get(f"{stack.url}/admin/").status_code == 200, "still signed in"
        assert self.program.get(f"{stack.url}/api/webhooks").status_code == 200


def queue_with(stack: Stack, keys: list[str], folders: list[Path]) -> None:
    """Queue tasks as a process does whose SECRET_KEY is the last of these."""
    env = {name: value for name, value in stack.environment.items() if not name.startswith("SECRET_KEY")}
    env |= {"SECRET_KEY": keys[-1], "SECRET_KEY_FALLBACKS": ",".join(keys)}
    code = f"from django_q.tasks import async_task\nfor each in {list(map(str, folders))}: async_task('os.mkdir', each)"
    subprocess.run([sys.executable, MANAGE, "shell", "--no-imports", "-c", code], env=env, check=True, timeout=180)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


def test_nobody_notices_a_new_secret_key(machines: tuple[Stack, Stack], receiver: Receiver, tmp_path: Path):
    """Tasks that one key had signed were dropped by whoever had another; visitors became others."""
    a, b = machines
    guests = Guests(a, receiver)

    def rotate(*options: str) -> None:
        done = a.manage("rotate_secret_key", *options)
        assert done.returncode == 0, done.stderr

    rotate()  # announced
    b.start()
    a.stop()
    a.start()
    guests.are_at_home(a)
    rotate("--restarted")  # used
    b.stop()
    b.start()
    for stack in (a, b, a, b):
        guests.are_at_home(stack)
    folders = [tmp_path / f"task-{number}" for number in range(8)]
    queue_with(a, (tmp_path / "keys").read_text().split("\n")[:2], folders)
    until(lambda: all(folder.exists() for folder in folders), "tasks of the former key are done", seconds=60)
    a.stop()
    guests.are_at_home(b)
    assert guests.browser.post(f"{b.url}/api/runs/{guests.run}/end").status_code == 200
    until(lambda: receiver.got, "the webhook is told of the end", seconds=60)
    told = receiver.got[0]
    assert why_refused(guests.secret, told.headers, told.body, time.time()) == ""
