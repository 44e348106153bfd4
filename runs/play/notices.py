"""Pages of ours in the place of a game's."""

from __future__ import annotations

from dataclasses import dataclass

from django.template.loader import render_to_string

STARTING_RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Notice:
    """What a page says, and when it looks again."""

    status: int
    title: str
    detail: str
    retry_seconds: int = 0
    link: str = ""  # to a page of ours
    code: str = "refused"  # what the metrics count it as

    def page(self) -> bytes:
        return render_to_string("play/notice.html", {"notice": self}).encode()


class Refused(Exception):
    """The client gets the notice."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(notice.title)
        self.notice = notice


NOT_THERE = Notice(404, "There is no such game", "Nobody launched a game with this address.", code="not_there")
NOT_FOR_OUR_PAGES = Notice(403, "Games stay in their frames", "A page of this site runs nothing of theirs.")
NOT_PASSED_ON = Notice(400, "This address is not passed on", "It has a part that could mean another place.")
TOO_MANY = Notice(
    503,
    "One moment, please",
    "This game has many requests under way. This page looks again by itself.",
    2,
    code="too_many",
)
BUSY = Notice(
    503, "The arcade is busy", "Many play just now; the game is well. This page looks again by itself.", 2, code="busy"
)
TOO_SLOW = Notice(408, "The request did not come in time", "Its rest was waited for too long. You can send it again.")
STARTING = Notice(
    503, "The game is starting", "This page looks again by itself.", STARTING_RETRY_SECONDS, code="starting"
)
BACK_SOON = Notice(
    503, "The game stopped", "It is being started again. This page looks again by itself.", 2, code="back_soon"
)
DEAD = Notice(
    502, "The game does not answer", "It may have crashed: it is being looked at. You can look again.", 5, code="dead"
)
LOCKED = Notice(
    502,
    "The game can't be reached any more",
    "Its sandbox does not take our key. You can launch the game again.",
    code="locked",
)
SLOW = Notice(504, "The game does not answer in time", "It may be busy, or stuck. You can look again.", code="slow")
CUT_OFF = Notice(
    502,
    "The game's answer breaks off",
    "It may be packed, though the game was asked for it as it is: no sandbox passes that on. The run's log says more.",
    code="cut_off",
)
LEADS_OUT = Notice(
    502, "The game wants to send you elsewhere", "It may not: its address was not followed.", code="leads_out"
)
