"""The list of all apps, from its pages: complete, or not at all.

App Platform numbers its pages, so an app that comes or goes while they are read shifts the others across the
seam: one is seen twice, one not at all. A listing that may have lost one is worse than none, because what is
missing from it would be taken for deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from pools.cloud.fitting import fitted

PER_PAGE = 200
MOST_PAGES = 1000
TOTAL_CHARACTERS = 40  # of a total that is none, in our words


Kept = TypeVar("Kept")


class Broken(ValueError):
    """The pages do not make a complete list; the message says why."""


def every_app(fetch: Callable[[int], Any], keep: Callable[[dict[str, Any]], Kept]) -> list[Kept]:
    """All apps, each once, from `fetch(page)`, which gives the body of a page, and `keep`, which says what is kept of
    an app: pages are large. Raises Broken."""
    apps: dict[str, Kept] = {}
    total: int | None = None
    for page in range(1, MOST_PAGES + 1):
        body = fetch(page)
        said = _total(body, page)
        if page > 1 and said != total:
            raise Broken(f"the total changed from {total} to {said} while the pages were read")
        total = said
        entries = _entries(body, page, total)
        known = len(apps)
        apps.update((entry["id"], keep(entry)) for entry in entries)
        has_next = _has_next(body)
        if has_next and entries and len(apps) == known:
            raise Broken(f"page {page} only repeated what earlier pages had shown")
        if _is_last(len(apps), total, has_next) or len(apps) == known:
            break
    else:
        raise Broken(f"it did not end after {MOST_PAGES} pages")
    if total is not None and len(apps) != total:
        raise Broken(f"it announced {total} apps and showed {len(apps)}")
    return list(apps.values())


def _is_last(count: int, total: int | None, has_next: bool | None) -> bool:
    if has_next:
        return False
    if total is not None:
        return count >= total
    return has_next is False  # with neither total nor links, only a page with nothing new is the end


def _entries(body: Any, page: int, total: int | None) -> list[dict[str, Any]]:
    entries = body.get("apps")
    if entries is None and total == 0 and page == 1:
        return []  # absent, not null, when there are none: the total says so in so many words
    if not isinstance(entries, list):
        raise Broken(f"page {page} came without “apps”")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not entry["id"]:
            raise Broken(f"page {page} held an app without an id")
    return entries


def _total(body: Any, page: int) -> int | None:
    if not isinstance(body, dict):
        raise Broken(f"page {page} was empty, cut short, or not JSON")
    meta = body.get("meta")
    if not isinstance(meta, dict) or "total" not in meta:
        return None
    total = meta["total"]
    if isinstance(total, str) and re.fullmatch(r"\d{1,9}", total):
        return int(total)
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise Broken(f"page {page} announced {fitted(repr(total), TOTAL_CHARACTERS)} apps")
    return total


def _has_next(body: Any) -> bool | None:
    """Whether the links speak of a next page; None when there are no links to go by."""
    links = body.get("links")
    if not isinstance(links, dict):
        return None
    pages = links.get("pages")
    return isinstance(pages, dict) and bool(pages.get("next"))
