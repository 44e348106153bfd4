"""Text from outside, fitted to be kept: no database takes a zero byte or half a character, and columns have an end."""

from __future__ import annotations

import re

UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
CUT = "…"  # also keeps a mark that was cut from equalling ours


def storable(text: str) -> str:
    """The text without what can't be stored, its length kept."""
    return UNSTORABLE.sub("\ufffd", text)


def fitted(text: str, most: int) -> str:
    """The text storable, and no longer than that."""
    text = storable(text)
    return text if len(text) <= most else text[: most - len(CUT)] + CUT
