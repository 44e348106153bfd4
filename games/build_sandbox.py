"""A sandbox to build in. In the embedded default it is an agent of its own beside the account, as images are built
elsewhere than they run; with a real account it is a sandbox like any other, reserved, taken and released."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from pools import claims, clock
from pools.capacity import NoCapacity, reserve
from pools.cloud.sandbox_agent import SandboxAgent
from pools.localcloud.builder_agent import local_agent
from pools.models import LIVE, Origin, Sandbox, State
from pools.nudge import nudge
from pools.reasons import CreateCode, EndCode

WAIT_SECONDS = 600
USE_MINUTES = 15


class NoWorkbench(Exception):
    """There is no sandbox to build in; the message says why."""


@contextmanager
def workbench(runtime: str, reason: str) -> Iterator[SandboxAgent]:
    """An agent in a sandbox of that runtime, for as long as the block runs. Raises NoWorkbench."""
    if settings.CLOUD_IS_EMBEDDED:
        with local_agent(settings.LOCALCLOUD_DIR, runtime) as (url, token):
            yield SandboxAgent(url, token)
        return
    sandbox = _reserve(runtime, reason)
    try:
        yield _wait_until_taken(sandbox, reason).agent()
    finally:
        with transaction.atomic():
            claims.retire(sandbox.id, EndCode.BUILD_DONE, f"done: {reason}", clock.now(), frm=LIVE)
            nudge()


def _reserve(runtime: str, reason: str) -> Sandbox:
    try:
        with transaction.atomic():
            sandbox = reserve(
                runtime=runtime, origin=Origin.COLD, code=CreateCode.BUILD, reason=reason, now=clock.now()
            )
            nudge()
    except NoCapacity as error:
        raise NoWorkbench(str(error)) from error
    if sandbox is None:
        raise NoWorkbench("The fleet is full.")
    return sandbox


def _wait_until_taken(sandbox: Sandbox, reason: str) -> Sandbox:
    deadline = clock.monotonic() + WAIT_SECONDS
    while clock.monotonic() < deadline:
        now = clock.now()
        expires_at = now + timedelta(minutes=USE_MINUTES)
        taken = claims.take(sandbox.id, by=reason, expires_at=expires_at, now=now)
        sandbox.refresh_from_db()
        if taken:
            return sandbox
        if sandbox.state in (State.DELETING, State.DELETED):
            raise NoWorkbench(sandbox.end_reason)
        clock.sleep(1)
    raise NoWorkbench(f"No sandbox was ready within {WAIT_SECONDS} s.")
