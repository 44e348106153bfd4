"""How the product reads lists of the simulated account: faster than in production, and watched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pools.cloud.records import App

MOST_REMEMBERED = 2000

ReadApp = Callable[[Any, datetime], App]
EveryApp = Callable[..., list[Any]]


def remembered(read_app: ReadApp) -> ReadApp:
    """`read_app`, which reads each record of ours once: an app's is the same object until something about it changes,
    and a turn reads them all."""
    known: dict[int, tuple[Any, App]] = {}

    def read(data: Any, now: datetime) -> App:
        found = known.get(id(data))
        if found is None:
            if len(known) >= MOST_REMEMBERED:
                known.clear()
            found = known[id(data)] = (data, read_app(data, now))  # what is kept lends its id to nobody
        return found[1]

    return read


def watched(every_app: EveryApp, object_to: Callable[[str], object]) -> EveryApp:
    """`every_app`, whose lists are held against the pages that they were made from: one that is torn is no list."""

    def read(fetch: Callable[[int], Any], keep: Callable[[dict[str, Any]], Any]) -> list[Any]:
        pages: list[Any] = []

        def fetched(number: int) -> Any:
            pages.append(None)  # of what raises nothing came
            pages[-1] = fetch(number)
            return pages[-1]

        apps = every_app(fetched, keep)
        if (why := torn(pages)) or len(apps) != len(shown(pages)):
            object_to(
                f"a torn list of {len(apps)} apps was taken for a whole one: {why or 'apps of its pages are missing'}"
            )
        return apps

    return read


def torn(pages: list[Any]) -> str:
    """Why these pages make no list; empty when they do."""
    if not all(isinstance(page, dict) and isinstance(page.get("apps"), list) for page in pages):
        return "a page can't be read"
    totals = {page["meta"]["total"] for page in pages}
    if len(totals) != 1:
        return f"its total changed: {sorted(totals)}"
    if (count := len(shown(pages))) != (total := totals.pop()):
        return f"it shows {count} of {total}"
    return ""


def shown(pages: list[Any]) -> set[str]:
    """The ids on them."""
    return {entry["id"] for page in pages for entry in page["apps"]}
