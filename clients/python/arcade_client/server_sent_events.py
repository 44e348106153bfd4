"""Server-sent events, read line by line."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerSent:
    """One event. `id` is empty for those that are not numbered."""

    name: str
    id: str
    data: str


@dataclass(slots=True)
class Reader:
    """Put lines in; an event comes out with the empty line that ends it."""

    _name: str = ""
    _id: str = ""
    _data: list[str] = field(default_factory=list)

    def take(self, line: str) -> ServerSent | None:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._name = value
            elif name == "id":
                self._id = value
            elif name == "data":
                self._data.append(value)
            return None
        made = ServerSent(self._name or "message", self._id, "\n".join(self._data)) if self._data else None
        self._name, self._id, self._data = "", "", []
        return made
