"""The client for programs with threads, or without: each method returns when it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from time import sleep
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from arcade_client import calls, operations
from arcade_client.calls import Until
from arcade_client.errors import ArcadeError
from arcade_client.operations import Act, Mode, OnMiss
from arcade_client.shapes import (
    Applied,
    Delivery,
    Event,
    Game,
    Limits,
    PlanFields,
    PoolFields,
    RunEvent,
    RunFields,
    SandboxFields,
    Status,
    Usage,
    WebhookFields,
)
from arcade_client.transport import Deadline, connection_errors, head_of, http_request
from arcade_client.wire import Answer, Call, Feed, Item, NextLine, Open, Pause, Send, Site, Step

T = TypeVar("T")
R = TypeVar("R")


class Arcade:
    """An arcade at an address. `timeout` is how many seconds a call may take, with all its retries."""

    def __init__(
        self, base_url: str, key: str | None = None, timeout: float = 30, *, http: httpx.Client | None = None
    ) -> None:
        self.site = Site(base_url, key, timeout)
        self._http = http or httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def launch(
        self,
        game: str,
        mode: Mode = "auto",
        *,
        on_miss: OnMiss | None = None,
        use_snapshot: bool = True,
        labels: Mapping[str, str] | None = None,
        wait: float | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Launch a game, once, however often it must be asked for. `wait`: seconds to wait for it to run; what is
        returned then is how it stands, running or not."""
        call = operations.launch(
            self.site,
            game,
            mode,
            on_miss=on_miss,
            use_snapshot=use_snapshot,
            labels=labels,
            wait_seconds=wait or 0,
            idempotency_key=idempotency_key,
        )
        return self._run(self._do(call))

    def run(self, run_id: str, token: str = "") -> Run:
        """How a run stands. With the token of its launch it can be ended without a key."""
        return self._run(self._do(operations.run(self.site, run_id, token)))

    def runs(
        self,
        *,
        state: str | None = None,
        game: str | None = None,
        mode: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        labels: Mapping[str, str | None] | None = None,
        **more: str,
    ) -> Iterator[Run]:
        """The runs one may see, newest first. Of `labels`, None is any value; `more` are further filters."""
        asked: dict[str, Any] = {"state": state, "game": game, "mode": mode, "label": operations.label_filters(labels)}
        asked |= {"created_after": created_after, "created_before": created_before, **more}
        return map(self._run, self._feed(calls.pages(self.site, "/api/runs", "runs", RunFields, asked)))

    def games(self) -> list[Game]:
        """What can be launched."""
        return self._do(operations.games(self.site))

    def limits(self) -> Limits:
        """Launches against their limits."""
        return self._do(operations.limits(self.site))

    def status(self) -> Status:
        """What is played, and what is left."""
        return self._do(operations.status(self.site))

    def pools(self) -> list[Pool]:
        """The pools of warm sandboxes."""
        return [dressed(Pool, each, self) for each in self._do(operations.pools(self.site))]

    def pool(self, name: str) -> Pool:
        """One pool, with the version that `set` goes by."""
        return dressed(Pool, self._do(operations.pool(self.site, name)), self)

    def plan(self) -> Plan:
        """What the next turn would do."""
        return dressed(Plan, self._do(operations.plan(self.site)), self)

    def usage(self, since: date | str | None = None, until: date | str | None = None, by: str | None = None) -> Usage:
        """What was used, and what it cost."""
        return self._do(operations.usage(self.site, since, until, by))

    def events(self, after: int | None = None, **filters: str) -> Iterator[Event]:
        """What happens in the arcade, without an end: beyond `after`, or the last events and what comes. Filters are
        `kind` (`run.ended`, or `run` for all about runs), `run` and `pool`."""
        return self._feed(calls.events(self.site, after, filters))

    def webhooks(self) -> list[Webhook]:
        """Where events are sent."""
        return [dressed(Webhook, each, self) for each in self._do(operations.webhooks(self.site))]

    def webhook(self, webhook_id: str) -> Webhook:
        """One of them."""
        return dressed(Webhook, self._do(operations.webhook(self.site, webhook_id)), self)

    def add_webhook(self, url: str, **more: Any) -> Webhook:
        """Have events sent to an address (`types=["run.ended"]`, `scope="all"`). Keep the `secret`: it is told once."""
        return dressed(Webhook, self._do(operations.add_webhook(self.site, url, more)), self)

    def remove_webhook(self, webhook_id: str) -> None:
        """Have no more events sent there."""
        self._do(operations.remove_webhook(self.site, webhook_id))

    def sandboxes(self, *, state: str | None = None, pool: str | None = None, **more: str) -> Iterator[Sandbox]:
        """The sandboxes, newest first, with those that were deleted of late."""
        asked = {"state": state, "pool": pool, **more}
        found = self._feed(operations.sandboxes(self.site, asked))
        return (dressed(Sandbox, each, self) for each in found)

    def sandbox(self, name: str) -> Sandbox:
        """One sandbox."""
        return dressed(Sandbox, self._do(operations.sandbox(self.site, name)), self)

    def _run(self, of: RunFields) -> Run:
        return dressed(Run, of, self)

    def _do(self, call: Call[T]) -> T:
        with Steps(self._http, self.site) as steps:
            result: Any = None
            trouble: ArcadeError | None = None
            while True:
                try:
                    step = call.throw(trouble) if trouble else call.send(result)
                except StopIteration as done:
                    value: T = done.value
                    return value
                result, trouble = steps.take(step)

    def _feed(self, feed: Feed[T]) -> Iterator[T]:
        with Steps(self._http, self.site) as steps:
            result: Any = None
            trouble: ArcadeError | None = None
            while True:
                try:
                    step = feed.throw(trouble) if trouble else feed.send(result)
                except StopIteration:
                    return
                if isinstance(step, Item):
                    result, trouble = None, None
                    yield step.value
                else:
                    result, trouble = steps.take(step)


class Steps(ExitStack):
    """The steps of one call, taken one after the other. Leaving it closes what is open."""

    def __init__(self, http: httpx.Client, site: Site) -> None:
        super().__init__()
        self.http, self.site = http, site
        self.lines: Iterator[str] = iter(())

    def take(self, step: Step) -> tuple[Any, ArcadeError | None]:
        """The step's result, or what went wrong."""
        try:
            with connection_errors(self.site):
                match step:
                    case Send():
                        return self._send(step), None
                    case Open():
                        return self._open(step), None
                    case NextLine():
                        return next(self.lines, None), None
                    case Pause():
                        sleep(step.seconds)
                        return None, None
        except ArcadeError as trouble:
            return None, trouble

    def _send(self, step: Send) -> Answer:
        deadline = Deadline(self.site.clock, step.timeout_seconds)
        with self.http.stream(**http_request(step.request, step.timeout_seconds)) as response:
            return head_of(response, b"".join(map(deadline.passed_by, response.iter_bytes())))

    def _open(self, step: Open) -> Answer:
        self.close()
        opening = self.http.stream(**http_request(step.request, step.timeout_seconds, step.silence_seconds))
        response = self.enter_context(opening)
        self.lines = response.iter_lines()
        return head_of(response, response.read() if response.is_error else b"")


@dataclass(frozen=True, kw_only=True)
class Run(RunFields):
    """One launch. What it says is as of the moment when it was read; each method returns it anew."""

    client: Arcade = field(repr=False, compare=False)

    def wait(self, until: Until = "running", timeout: float = 300) -> Run:
        """Wait until it runs, or is over (`settled`). Raises RunOver when it never will run, or WaitedTooLong."""
        return self.client._run(self.client._do(calls.wait(self.client.site, self, until, timeout)))

    def follow(self, after: int = 0) -> Iterator[RunEvent]:
        """Its lines beyond a number, to its end. Cut connections are taken up where they were cut."""
        return self.client._feed(calls.follow(self.client.site, self, after))

    def refresh(self) -> Run:
        """As it stands now."""
        return self.client.run(self.run_id, self.token)

    def extend(self, reason: str = "") -> Run:
        """Give it more time. Operators say why."""
        return self.client._run(self.client._do(operations.extend(self.client.site, self, reason)))

    def end(self, reason: str = "") -> Run:
        """End it; its sandbox goes with it. Operators say why."""
        return self.client._run(self.client._do(operations.end(self.client.site, self, reason)))


@dataclass(frozen=True, kw_only=True)
class Pool(PoolFields):
    """One pool. All that is done to it is written to the log, with the reason."""

    client: Arcade = field(repr=False, compare=False)

    def set(self, *, reason: str, **changes: Any) -> Pool:
        """Change it (`target_ready=2`), if it still is as it was read. Raises Changed when it is not."""
        return dressed(Pool, self.client._do(operations.set_pool(self.client.site, self, changes, reason)), self.client)

    def prime(self, reason: str) -> Pool:
        """Fill it now. It may take a while: look at its counts."""
        return self._act("prime", reason)

    def pause(self, reason: str) -> Pool:
        """Make no more sandboxes."""
        return self._act("pause", reason)

    def resume(self, reason: str) -> Pool:
        """Make sandboxes again."""
        return self._act("resume", reason)

    def drain(self, reason: str) -> Pool:
        """Delete its sandboxes, and make no more."""
        return self._act("drain", reason)

    def recycle(self, reason: str) -> Pool:
        """Replace its sandboxes by new ones."""
        return self._act("recycle", reason)

    def close_breaker(self, reason: str) -> Pool:
        """Make sandboxes though too many failed in a row."""
        return self._act("close-breaker", reason)

    def _act(self, act: Act, reason: str) -> Pool:
        call = operations.act_on_pool(self.client.site, self.name, act, reason)
        return dressed(Pool, self.client._do(call), self.client)


@dataclass(frozen=True, kw_only=True)
class Webhook(WebhookFields):
    """Where events are sent. What it says is as of the moment when it was read."""

    client: Arcade = field(repr=False, compare=False)

    def change(self, **changes: Any) -> Webhook:
        """Change its `types`, `url`, `description`, or whether it `is_enabled`."""
        changed = self.client._do(operations.change_webhook(self.client.site, self.id, changes))
        return dressed(Webhook, changed, self.client)

    def rotate(self) -> str:
        """Its new secret, told once. The old one signs nothing more."""
        return self.client._do(operations.rotate_webhook(self.client.site, self.id))

    def test(self) -> Delivery:
        """Have an event of the type `webhook.test` sent. What comes of it is among its deliveries."""
        return self.client._do(operations.test_webhook(self.client.site, self.id))

    def deliveries(self, state: str | None = None) -> Iterator[Delivery]:
        """What was sent, or is to be, newest first. States are pending, failed, delivered and given_up."""
        return self.client._feed(operations.deliveries(self.client.site, self.id, state))

    def redeliver(self, delivery_id: str) -> Delivery:
        """Have a delivery sent once more, under its own id."""
        return self.client._do(operations.redeliver(self.client.site, self.id, delivery_id))

    def remove(self) -> None:
        """Have no more events sent there."""
        self.client.remove_webhook(self.id)


@dataclass(frozen=True, kw_only=True)
class Sandbox(SandboxFields):
    """One sandbox. What is done to it is written to the log, with the reason."""

    client: Arcade = field(repr=False, compare=False)

    def retire(self, reason: str) -> Sandbox:
        """Let it go; the run in it ends."""
        retired = self.client._do(operations.retire_sandbox(self.client.site, self.name, reason))
        return dressed(Sandbox, retired, self.client)

    def force_delete(self, reason: str, *, confirm: str) -> Sandbox:
        """Delete it now, whatever its state; the run in it ends. `confirm` is its name once more."""
        call = operations.force_delete_sandbox(self.client.site, self.name, confirm, reason)
        return dressed(Sandbox, self.client._do(call), self.client)


@dataclass(frozen=True, kw_only=True)
class Plan(PlanFields):
    """What the next turn would do."""

    client: Arcade = field(repr=False, compare=False)

    def apply(self, reason: str) -> Applied:
        """Have this very plan carried out. Raises PlanChanged when another is due."""
        return self.client._do(operations.apply_plan(self.client.site, self, reason))


def dressed(kind: type[R], of: Any, client: Any) -> R:
    """The same fields with methods, which ask `client`."""
    return kind(**{each.name: getattr(of, each.name) for each in fields(of)} | {"client": client})
