"""Questions and requests for many at once, from several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from pools.cloud.errors import AgentError, CloudError

AT_ONCE = 8  # requests in flight
ASKED_A_TURN = 20

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Trouble = CloudError | AgentError


def ask_all(ask: Callable[[Asked], Answer], items: Sequence[Asked]) -> list[tuple[Asked, Answer | Trouble]]:
    """Ask for every item, some at once; an error is an answer, too."""

    def safely(item: Asked) -> Answer | Trouble:
        try:
            return ask(item)
        except (CloudError, AgentError) as error:
            return error

    if len(items) <= 1:
        return [(item, safely(item)) for item in items]
    here = copy_context()  # each needs one of its own
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(zip(items, threads.map(lambda item: here.copy().run(safely, item), items), strict=True))
