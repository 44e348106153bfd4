"""`manage.py webhook_receiver` shows a developer each delivery, and whether its signature is right."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pools.webhooks import Webhook
from runs.webhooks import courier, signing
from tests.integration.webhooks.conftest import ended

MANAGE = Path(__file__).parents[3] / "manage.py"


class Command:
    def __init__(self, secret: str) -> None:
        command = [sys.executable, MANAGE, "webhook_receiver", "--port", "0", "--secret", secret]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.url = re.findall(r"http://\S+", self.line())[0]

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture
def commands() -> Iterator[Any]:
    made: list[Command] = []

    def make(secret: str) -> Command:
        made.append(Command(secret))
        return made[-1]

    yield make
    for command in made:
        command.process.kill()
        command.process.communicate()


def test_each_delivery_is_shown_with_whether_its_signature_is_right(commands, make_webhook):
    right, wrong = commands(signing.new_secret()), commands(signing.new_secret())
    webhook = make_webhook(right, "run.ended")
    Webhook.objects.filter(pk=webhook.pk).update(secret=secret_of(right))
    make_webhook(wrong, "run.ended")
    ended()
    courier.deliver()
    assert "signature right  run.ended {" in right.line()
    assert "signature WRONG: signed with another secret" in wrong.line()


def secret_of(command: Command) -> str:
    return str(command.process.args[-1])


def test_what_is_no_secret_is_refused_at_once():
    command = [sys.executable, MANAGE, "webhook_receiver", "--secret", "whsec_!"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "a secret is whsec_ and base64" in ended.stderr
