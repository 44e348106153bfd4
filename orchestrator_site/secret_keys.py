"""Changing SECRET_KEY without anybody noticing: in steps, after each of which every process is started again.

All keys that count stand in SECRET_KEY_FALLBACKS, the newest first; SECRET_KEY is the one of them that signs. A new one
is first announced, so that every process accepts it, and then used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """`key` signs; all of `accepted` are accepted, `key` among them, the newest first."""

    key: str
    accepted: tuple[str, ...]

    @classmethod
    def of(cls, key: str, fallbacks: Sequence[str]) -> Keys:
        """The keys of the settings, where SECRET_KEY is the newest unless SECRET_KEY_FALLBACKS tells."""
        first = () if key in fallbacks else (key,)
        return cls(key, tuple(dict.fromkeys([*first, *fallbacks])))

    @property
    def coming(self) -> str:
        """The key that is announced and not in use; empty when there is none."""
        return self.accepted[0] if self.accepted[0] != self.key else ""

    @property
    def former(self) -> tuple[str, ...]:
        return self.accepted[self.accepted.index(self.key) + 1 :]

    def announced(self, new: str) -> Keys:
        return Keys(self.key, (new, *self.accepted))

    def used(self) -> Keys:
        return Keys(self.accepted[0], self.accepted)

    def forgotten(self) -> Keys:
        return Keys(self.key, tuple(key for key in self.accepted if key not in self.former))
