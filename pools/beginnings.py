"""Ids as people write them: by their first letters."""

from __future__ import annotations

import re
from uuid import UUID


def ids_beginning(text: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begins so; None when no id can. Ids are compared as numbers, for which every
    database has its index."""
    digits = text.lower().removeprefix("run").strip().replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{4,32}", digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
