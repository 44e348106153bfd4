"""Tell those who stream events that there are new rows. A wake-up carries nothing and may be lost: readers go back to
the rows by their cursor, and look once a second in any case.
"""

from __future__ import annotations

from pools.mailboxes import Mailbox, open_mailbox, wake_on_commit, wake_together
from pools.together import Together

CHANNEL = "events"


def wake_readers() -> None:
    """Wake every reader, in every process, when the current transaction commits."""
    wake_on_commit(CHANNEL)


def wake_readers_together(batch: Together) -> None:
    """The same, with what else goes in one round trip."""
    wake_together(batch, CHANNEL)


def open_readers_mailbox() -> Mailbox:
    """Where this process hears of new rows."""
    return open_mailbox(CHANNEL)
