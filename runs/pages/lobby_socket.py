"""The lobby as it changes, for any number of open ones: looked up and rendered once a second, sent to all as it is."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from weakref import WeakKeyDictionary

from pools import clock, shared
from runs.live.backpressure import Flow, TooSlow
from runs.live.closing import SERVICE_RESTART, Closing, until_closing
from runs.live.consumers import HEARTBEAT_SECONDS, OVER, STALL_SECONDS, EventsConsumer, Socket, heartbeat
from runs.live.database import read
from runs.live.hub import FLEET, news
from runs.pages.lobby import LIVE, Live

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0  # also without any news: times grow old, hours end
AT_ONCE = 20  # of a thousand readers: the event loop has others to serve as well
BREATH_SECONDS = 0.01


class Audience:
    """All open lobbies of one event loop, and the task that looks for them while there are any."""

    def __init__(self) -> None:
        self.live: Live | None = None
        self._readers: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None

    def join(self) -> asyncio.Event:
        """Return what is set whenever there is something new to be sent."""
        reader = asyncio.Event()
        self._readers.add(reader)
        if self.live is not None:
            reader.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return reader

    def leave(self, reader: asyncio.Event) -> None:
        self._readers.discard(reader)
        if not self._readers and self._looking is not None:
            self._looking.cancel()
            self._looking = self.live = None

    async def _look(self) -> None:
        """All readers wait for it, so no error ends it."""
        while True:
            try:
                async with aclosing(news(FLEET, every_seconds=AGAIN_SECONDS)) as calls:
                    async for _ in calls:
                        await self._show(await _made_since(clock.monotonic()))
            except Exception as error:
                logger.warning("The lobby can't be looked up: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _show(self, live: Live) -> None:
        """Tell all readers if it is something new; not before it is due again is anything else."""
        if self.live is None or self.live.version != live.version:
            self.live = live
            for number, reader in enumerate(tuple(self._readers), 1):
                reader.set()
                if number % AT_ONCE == 0:
                    await asyncio.sleep(BREATH_SECONDS)
        await asyncio.sleep(max(0.0, live.made_at + shared.KEPT_SECONDS - clock.monotonic()))


async def _made_since(moment: float) -> Live:
    """Return it as it was at that moment or later: what was kept from before does not show what has just happened."""
    live = await read(LIVE.get)
    if live.made_at < moment:
        await asyncio.sleep(max(0.0, live.made_at + shared.KEPT_SECONDS - clock.monotonic()))
        live = await read(LIVE.get)
    return live


_audiences: WeakKeyDictionary[asyncio.AbstractEventLoop, Audience] = WeakKeyDictionary()


def audience() -> Audience:
    """The audience of the running event loop."""
    return _audiences.setdefault(asyncio.get_running_loop(), Audience())


class LobbySocket(EventsConsumer, Socket):
    """`/ws/lobby/?seen=VERSION`: the parts of the lobby that everybody sees, now if they are not of that version, and
    whenever they have changed. One JSON text a message."""

    async def connect(self) -> None:
        await self.accept()
        self.answering = self.tasks.create_task(self.send_parts(self.query.get("seen", "")))

    async def disconnect(self, code: int) -> None:
        self.stop_answering()

    async def send_parts(self, seen: str) -> None:
        mine = audience()
        reader = mine.join()
        code = OVER
        try:
            async with until_closing():
                await self._send_new(mine, reader, seen)
        except TooSlow:
            pass
        except Closing:
            code = SERVICE_RESTART
        finally:
            mine.leave(reader)
        await self.close(code)

    async def _send_new(self, mine: Audience, reader: asyncio.Event, seen: str) -> None:
        """For ever. Raises TooSlow."""
        with Flow(self.base_send) as flow:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await reader.wait()
                await flow.ready(STALL_SECONDS)
                is_new = reader.is_set() and mine.live is not None and mine.live.version != seen
                reader.clear()
                if is_new and mine.live is not None:
                    seen = mine.live.version
                    await self.send(mine.live.message)
                else:
                    await self.send(heartbeat())
