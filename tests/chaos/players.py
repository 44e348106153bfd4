"""People who launch, play for a moment and end, through whatever happens to the machines."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx

PATIENCE_SECONDS = 60


class Players:
    """Each asks again, under the same key, until there is an answer that tells what became of it."""

    def __init__(self, url: str, game: str, seed: int, *, many: int, pause_seconds: float) -> None:
        self.url, self.game, self.pause_seconds = url, game, pause_seconds
        self.random = random.Random(seed)
        self.answers: Counter[str] = Counter()
        self.given: dict[str, str] = {}  # each key's run
        self.attempts = 0
        self.launched_at_seconds: list[float] = []  # when one was asked for that was given
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._play) for _ in range(many)]

    def __enter__(self) -> Players:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def have_launched_since(self, began_seconds: float) -> bool:
        return any(at > began_seconds for at in self.launched_at_seconds[-50:])

    def _play(self) -> None:
        with httpx.Client(base_url=self.url, timeout=10, trust_env=False) as client:
            while not self._over.wait(self.random.uniform(0, 2 * self.pause_seconds)):
                self._one(client)

    def _one(self, client: httpx.Client) -> None:
        key = uuid4().hex
        mode = self.random.choice(["warm", "warm", "cold"])
        run = self._insist(
            client, "POST", f"/api/launch/{mode}", json={"game": self.game}, headers={"Idempotency-Key": key}
        )
        if run is None or "run_id" not in run:
            return
        self.given[key] = run["run_id"]
        self._over.wait(self.random.uniform(0.2, 1.5))
        self._insist(client, "DELETE", f"/api/sandbox/{run['run_id']}")

    def _insist(self, client: httpx.Client, method: str, path: str, **options: Any) -> Mapping[str, Any] | None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            began_seconds = time.monotonic()
            self.attempts += 1
            try:
                answer = client.request(method, path, **options)
            except httpx.HTTPError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[f"{method} {answer.status_code}"] += 1
                if answer.status_code == 201:
                    self.launched_at_seconds.append(began_seconds)
                if answer.status_code < 500:
                    with suppress(ValueError):
                        return dict(answer.json())
                    return None
            time.sleep(0.2)
        self.answers[f"{method} given up"] += 1
        return None
