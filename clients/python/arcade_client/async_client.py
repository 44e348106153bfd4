"""The client for asyncio: the same methods as `Arcade` has, to be awaited, and the same decisions behind them."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from arcade_client import calls, operations
from arcade_client.calls import Until
from arcade_client.client import dressed
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


class AsyncArcade:
    """An arcade at an address. `timeout` is how many seconds a call may take, with all its retries."""

    def __init__(
        self, base_url: str, key: str | None = None, timeout: float = 30, *, http: httpx.AsyncClient | None = None
    ) -> None:
        self.site = Site(base_url, key, timeout)
        self._http = http or httpx.AsyncClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def launch(
        self,
        game: str,
        mode: Mode = "auto",
        *,
        on_miss: OnMiss | None = None,
        use_snapshot: bool = True,
        labels: Mapping[str, str] | None = None,
        wait: float | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncRun:
        """As `Arcade.launch`."""
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
        return self._run(await self._do(call))

    async def run(self, run_id: str, token: str = "") -> AsyncRun:
        """As `Arcade.run`."""
        return self._run(await self._do(operations.run(self.site, run_id, token)))

    async def runs(
        self,
        *,
        state: str | None = None,
        game: str | None = None,
        mode: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        labels: Mapping[str, str | None] | None = None,
        **more: str,
    ) -> AsyncIterator[AsyncRun]:
        """As `Arcade.runs`."""
        asked: dict[str, Any] = {"state": state, "game": game, "mode": mode, "label": operations.label_filters(labels)}
        asked |= {"created_after": created_after, "created_before": created_before, **more}
        async for each in self._feed(calls.pages(self.site, "/api/runs", "runs", RunFields, asked)):
            yield self._run(each)

    async def games(self) -> list[Game]:
        """As `Arcade.games`."""
        return await self._do(operations.games(self.site))

    async def limits(self) -> Limits:
        """As `Arcade.limits`."""
        return await self._do(operations.limits(self.site))

    async def status(self) -> Status:
        """As `Arcade.status`."""
        return await self._do(operations.status(self.site))

    async def pools(self) -> list[AsyncPool]:
        """As `Arcade.pools`."""
        return [dressed(AsyncPool, each, self) for each in await self._do(operations.pools(self.site))]

    async def pool(self, name: str) -> AsyncPool:
        """As `Arcade.pool`."""
        return dressed(AsyncPool, await self._do(operations.pool(self.site, name)), self)

    async def plan(self) -> AsyncPlan:
        """As `Arcade.plan`."""
        return dressed(AsyncPlan, await self._do(operations.plan(self.site)), self)

    async def usage(
        self, since: date | str | None = None, until: date | str | None = None, by: str | None = None
    ) -> Usage:
        """As `Arcade.usage`."""
        return await self._do(operations.usage(self.site, since, until, by))

    def events(self, after: int | None = None, **filters: str) -> AsyncIterator[Event]:
        """As `Arcade.events`."""
        return self._feed(calls.events(self.site, after, filters))

    async def webhooks(self) -> list[AsyncWebhook]:
        """As `Arcade.webhooks`."""
        return [dressed(AsyncWebhook, each, self) for each in await self._do(operations.webhooks(self.site))]

    async def webhook(self, webhook_id: str) -> AsyncWebhook:
        """As `Arcade.webhook`."""
        return dressed(AsyncWebhook, await self._do(operations.webhook(self.site, webhook_id)), self)

    async def add_webhook(self, url: str, **more: Any) -> AsyncWebhook:
        """As `Arcade.add_webhook`."""
        return dressed(AsyncWebhook, await self._do(operations.add_webhook(self.site, url, more)), self)

    async def remove_webhook(self, webhook_id: str) -> None:
        """As `Arcade.remove_webhook`."""
        await self._do(operations.remove_webhook(self.site, webhook_id))

    async def sandboxes(
        self, *, state: str | None = None, pool: str | None = None, **more: str
    ) -> AsyncIterator[AsyncSandbox]:
        """As `Arcade.sandboxes`."""
        asked = {"state": state, "pool": pool, **more}
        async for each in self._feed(operations.sandboxes(self.site, asked)):
            yield dressed(AsyncSandbox, each, self)

    async def sandbox(self, name: str) -> AsyncSandbox:
        """As `Arcade.sandbox`."""
        return dressed(AsyncSandbox, await self._do(operations.sandbox(self.site, name)), self)

    def _run(self, of: RunFields) -> AsyncRun:
        return dressed(AsyncRun, of, self)

    async def _do(self, call: Call[T]) -> T:
        async with Steps(self._http, self.site) as steps:
            result: Any = None
            trouble: ArcadeError | None = None
            while True:
                try:
                    step = call.throw(trouble) if trouble else call.send(result)
                except StopIteration as done:
                    value: T = done.value
                    return value
                result, trouble = await steps.take(step)

    async def _feed(self, feed: Feed[T]) -> AsyncIterator[T]:
        async with Steps(self._http, self.site) as steps:
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
                    result, trouble = await steps.take(step)


class Steps(AsyncExitStack):
    """The steps of one call, taken one after the other. Leaving it closes what is open."""

    def __init__(self, http: httpx.AsyncClient, site: Site) -> None:
        super().__init__()
        self.http, self.site = http, site
        self.lines: AsyncIterator[str] | None = None

    async def take(self, step: Step) -> tuple[Any, ArcadeError | None]:
        """The step's result, or what went wrong."""
        try:
            with connection_errors(self.site):
                match step:
                    case Send():
                        return await self._send(step), None
                    case Open():
                        return await self._open(step), None
                    case NextLine():
                        return (await anext(self.lines, None) if self.lines else None), None
                    case Pause():
                        await sleep(step.seconds)
                        return None, None
        except ArcadeError as trouble:
            return None, trouble

    async def _send(self, step: Send) -> Answer:
        deadline = Deadline(self.site.clock, step.timeout_seconds)
        async with self.http.stream(**http_request(step.request, step.timeout_seconds)) as response:
            return head_of(response, b"".join([deadline.passed_by(part) async for part in response.aiter_bytes()]))

    async def _open(self, step: Open) -> Answer:
        await self.aclose()
        opening = self.http.stream(**http_request(step.request, step.timeout_seconds, step.silence_seconds))
        response = await self.enter_async_context(opening)
        self.lines = response.aiter_lines()
        return head_of(response, await response.aread() if response.is_error else b"")


@dataclass(frozen=True, kw_only=True)
class AsyncRun(RunFields):
    """As `Run`, to be awaited."""

    client: AsyncArcade = field(repr=False, compare=False)

    async def wait(self, until: Until = "running", timeout: float = 300) -> AsyncRun:  # noqa: ASYNC109  as Run.wait has it
        """As `Run.wait`."""
        return self.client._run(await self.client._do(calls.wait(self.client.site, self, until, timeout)))

    def follow(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """As `Run.follow`."""
        return self.client._feed(calls.follow(self.client.site, self, after))

    async def refresh(self) -> AsyncRun:
        """As `Run.refresh`."""
        return await self.client.run(self.run_id, self.token)

    async def extend(self, reason: str = "") -> AsyncRun:
        """As `Run.extend`."""
        return self.client._run(await self.client._do(operations.extend(self.client.site, self, reason)))

    async def end(self, reason: str = "") -> AsyncRun:
        """As `Run.end`."""
        return self.client._run(await self.client._do(operations.end(self.client.site, self, reason)))


@dataclass(frozen=True, kw_only=True)
class AsyncPool(PoolFields):
    """As `Pool`, to be awaited."""

    client: AsyncArcade = field(repr=False, compare=False)

    async def set(self, *, reason: str, **changes: Any) -> AsyncPool:
        """As `Pool.set`."""
        changed = await self.client._do(operations.set_pool(self.client.site, self, changes, reason))
        return dressed(AsyncPool, changed, self.client)

    async def prime(self, reason: str) -> AsyncPool:
        """As `Pool.prime`."""
        return await self._act("prime", reason)

    async def pause(self, reason: str) -> AsyncPool:
        """As `Pool.pause`."""
        return await self._act("pause", reason)

    async def resume(self, reason: str) -> AsyncPool:
        """As `Pool.resume`."""
        return await self._act("resume", reason)

    async def drain(self, reason: str) -> AsyncPool:
        """As `Pool.drain`."""
        return await self._act("drain", reason)

    async def recycle(self, reason: str) -> AsyncPool:
        """As `Pool.recycle`."""
        return await self._act("recycle", reason)

    async def close_breaker(self, reason: str) -> AsyncPool:
        """As `Pool.close_breaker`."""
        return await self._act("close-breaker", reason)

    async def _act(self, act: Act, reason: str) -> AsyncPool:
        call = operations.act_on_pool(self.client.site, self.name, act, reason)
        return dressed(AsyncPool, await self.client._do(call), self.client)


@dataclass(frozen=True, kw_only=True)
class AsyncWebhook(WebhookFields):
    """As `Webhook`, to be awaited."""

    client: AsyncArcade = field(repr=False, compare=False)

    async def change(self, **changes: Any) -> AsyncWebhook:
        """As `Webhook.change`."""
        changed = await self.client._do(operations.change_webhook(self.client.site, self.id, changes))
        return dressed(AsyncWebhook, changed, self.client)

    async def rotate(self) -> str:
        """As `Webhook.rotate`."""
        return await self.client._do(operations.rotate_webhook(self.client.site, self.id))

    async def test(self) -> Delivery:
        """As `Webhook.test`."""
        return await self.client._do(operations.test_webhook(self.client.site, self.id))

    def deliveries(self, state: str | None = None) -> AsyncIterator[Delivery]:
        """As `Webhook.deliveries`."""
        return self.client._feed(operations.deliveries(self.client.site, self.id, state))

    async def redeliver(self, delivery_id: str) -> Delivery:
        """As `Webhook.redeliver`."""
        return await self.client._do(operations.redeliver(self.client.site, self.id, delivery_id))

    async def remove(self) -> None:
        """As `Webhook.remove`."""
        await self.client.remove_webhook(self.id)


@dataclass(frozen=True, kw_only=True)
class AsyncSandbox(SandboxFields):
    """As `Sandbox`, to be awaited."""

    client: AsyncArcade = field(repr=False, compare=False)

    async def retire(self, reason: str) -> AsyncSandbox:
        """As `Sandbox.retire`."""
        retired = await self.client._do(operations.retire_sandbox(self.client.site, self.name, reason))
        return dressed(AsyncSandbox, retired, self.client)

    async def force_delete(self, reason: str, *, confirm: str) -> AsyncSandbox:
        """As `Sandbox.force_delete`."""
        call = operations.force_delete_sandbox(self.client.site, self.name, confirm, reason)
        return dressed(AsyncSandbox, await self.client._do(call), self.client)


@dataclass(frozen=True, kw_only=True)
class AsyncPlan(PlanFields):
    """As `Plan`, to be awaited."""

    client: AsyncArcade = field(repr=False, compare=False)

    async def apply(self, reason: str) -> Applied:
        """As `Plan.apply`."""
        return await self.client._do(operations.apply_plan(self.client.site, self, reason))
