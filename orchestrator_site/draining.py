"""How a web process stops so that nobody notices where there is another one.

Readiness says no at once, and for DRAIN_SECONDS requests are answered as before: whoever shares them out must find out
first. Then nobody new is let in, readers are sent away, and what was begun is finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django.conf import settings

from pools import stopping
from runs.live import closing

GRACE_SECONDS = 55.0  # of the 60 that platforms are asked for; what goes on then is cut off
SPREAD_SECONDS = 1.0  # over which readers are sent away
LOOK_SECONDS = 0.05


async def drain(stop_listening: Callable[[], None], is_busy: Callable[[], bool]) -> None:
    """Come back when nothing is left to be finished, or the time for it is over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + GRACE_SECONDS
    stopping.announce()
    await asyncio.sleep(settings.DRAIN_SECONDS)
    stop_listening()
    # Where nobody waits for others to take over, there are none to spare.
    spread_seconds = min(SPREAD_SECONDS, settings.DRAIN_SECONDS)
    closing.close(spread_seconds)
    await asyncio.sleep(spread_seconds)  # also for those who were let in last, and have yet to say what they want
    while is_busy() and loop.time() < until:
        await asyncio.sleep(LOOK_SECONDS)
