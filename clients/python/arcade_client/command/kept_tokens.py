"""The tokens of one's launches, kept in a file that only its owner can read, so that `arcade end` works later.

It is `$XDG_STATE_HOME/arcade/tokens.json`, usually ~/.local/state/arcade/tokens.json. The newest tokens are kept.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST = 500


class KeptTokens:
    """The tokens for one arcade. What can't be read counts as none; what can't be written is not kept."""

    def __init__(self, base_url: str, folder: Path | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.folder = folder or state_folder()
        self.file = self.folder / "tokens.json"

    def of(self, run_id: str) -> str:
        """A run's token; empty when there is none."""
        return self._all().get(self._name(run_id), "")

    def run_ids(self) -> list[str]:
        """The runs that there are tokens of, the newest last."""
        beginning = self._name("")
        return [name.removeprefix(beginning) for name in self._all() if name.startswith(beginning)]

    def keep(self, run_id: str, token: str) -> bool:
        """Keep a token. False when it can't be."""
        try:
            with self._alone():
                kept = self._all()
                kept.pop(self._name(run_id), None)
                newest = list((kept | {self._name(run_id): token}).items())[-MOST:]
                self._write(json.dumps(dict(newest), indent=1))
        except OSError:
            return False
        return True

    def _name(self, run_id: str) -> str:
        return f"{self.base_url}#{run_id}"

    def _all(self) -> dict[str, str]:
        try:
            found = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}
        return {str(name): str(token) for name, token in found.items()} if isinstance(found, dict) else {}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two launches at once must not lose one another's token."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, text: str) -> None:
        """Whole or not at all. A temporary file is its owner's only (0600) from the beginning."""
        number, name = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(number, "w") as file:
                file.write(text)
            Path(name).replace(self.file)
        except OSError:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)
            raise


def state_folder() -> Path:
    """Where this user's programs keep what should outlive them."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "arcade"
    try:
        return Path.home() / ".local" / "state" / "arcade"
    except RuntimeError:  # a container may run as somebody without a home; nothing can be kept there
        return Path(os.devnull) / "arcade"
