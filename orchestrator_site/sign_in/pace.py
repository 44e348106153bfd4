"""How fast one network may ask for the sign-in page, and send forms that hash a password: what comes faster is refused
without a thread, and late.

It protects the others from the work that even a refusal costs. Guesses are counted elsewhere (`throttle`), in the
database; this is each process's own, and forgets.
"""

from __future__ import annotations

import asyncio
from functools import cache

from django.http import HttpResponse
from django.template.loader import render_to_string

BURST = 60  # requests: a sign-in takes two
A_SECOND = 2.0
MOST_NETWORKS = 10_000
LATE_SECONDS = 2.0  # a program that waits for its answer asks no faster than that
MOST_LATE = 500
POLICY = "sandbox; default-src 'none'; style-src 'self'; img-src 'self'"


class Pace:
    """Of one event loop."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}  # how many requests, and when that was
        self._late = 0

    def allows(self, network: str, now_seconds: float) -> bool:
        left, then = self._left.get(network, (float(BURST), now_seconds))
        left = min(float(BURST), left + (now_seconds - then) * A_SECOND)
        if len(self._left) >= MOST_NETWORKS:
            self._left.clear()
        self._left[network] = (max(0.0, left - 1), now_seconds)
        return left >= 1

    async def refuse(self) -> HttpResponse:
        if self._late < MOST_LATE:
            self._late += 1
            try:
                await asyncio.sleep(LATE_SECONDS)
            finally:
                self._late -= 1
        return _answer()


def _answer() -> HttpResponse:
    headers = {"Retry-After": "60", "Cache-Control": "no-store", "Content-Security-Policy": POLICY}
    return HttpResponse(_page(), status=429, headers=headers)


@cache
def _page() -> str:
    return render_to_string("429.html")
