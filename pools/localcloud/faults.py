"""A client for the local cloud's own endpoints. What a fault can be is written in `pools.localcloud.trouble.FAULTS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx


class LocalCloudControl:
    """Make trouble, look at what is really there, and change it behind the orchestrator's back."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60, trust_env=False)

    # Faults.

    def fault(self, **data: Any) -> str:
        """Put a fault in force; its id."""
        return str(self._json("POST", "/_local/faults", json=data)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force, each with how many requests it has `met`."""
        return list(self._json("GET", "/_local/faults")["faults"])

    def clear(self, fault_id: str | None = None) -> None:
        """Take back one fault, or all."""
        self._json("DELETE", f"/_local/faults/{fault_id}" if fault_id else "/_local/faults")

    # What is, and what has been.

    def state(self) -> dict[str, Any]:
        """`apps` as they are, the `journal` of creates and deletes, and counts.

        `creates` and `deletes` are those that came through the API, over all starts; `most_apps` the most at a time;
        `requests` (by method and path), `operations`,
        `requests_last_minute` and `most_requests_a_minute` since this one.
        """
        return self._json("GET", "/_local/state")

    def apps(self) -> list[dict[str, Any]]:
        """The account's apps as they really are, whatever the faults."""
        return list(self.state()["apps"])

    def app(self, app_id: str) -> dict[str, Any]:
        return self._json("GET", f"/_local/apps/{app_id}")

    # Behind the orchestrator's back.

    def make_app(self, name: str, owner: str = "", **fields: Any) -> dict[str, Any]:
        """An app, somebody else's or with a mark; on paper, unless paper=False. Its record, as the API shows it.

        Takes image, size, region, token and deploy_seconds, too.
        """
        return self._json("POST", "/_local/apps", json={"name": name, "owner": owner, **fields})

    def make_apps(self, count: int, prefix: str = "sandbox-", owner: str = "", names: Sequence[str] = ()) -> list[str]:
        """Many paper apps, active at once; their ids."""
        names = list(names) or [f"{prefix}{0x10000000 + number:0{16 - len(prefix)}x}" for number in range(count)]
        return list(self._json("POST", "/_local/apps", json={"names": names, "owner": owner})["ids"])

    def change_app(self, app_id: str, **fields: Any) -> dict[str, Any]:
        """Steer an app: `stuck` (a phase; "" releases it), `error`, `deploy_seconds`, `agent` ({} heals it)."""
        return self._json("PATCH", f"/_local/apps/{app_id}", json=fields)

    def delete_app(self, app_id: str) -> None:
        """Delete an app."""
        self._json("DELETE", f"/_local/apps/{app_id}")

    def kill_agent(self, app_id: str, *, stays_dead: bool = True) -> None:
        """The agent of an app dies; the platform restarts it unless it stays dead."""
        self._json("POST", f"/_local/apps/{app_id}/kill-agent", json={"stays_dead": stays_dead})

    def settings(self, **fields: Any) -> dict[str, Any]:
        """Change `deploy_seconds`, `requests_per_minute` (above it 429; null: any), `tokens` or `paper`."""
        return self._json("POST", "/_local/settings", json=fields)

    def reset(self) -> None:
        """No apps, no faults, no counts."""
        self._json("POST", "/_local/reset")

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self.client.request(method, path, **options)
        if answer.status_code >= 400:
            raise ValueError(f"{method} {path}: {answer.status_code} {answer.text}")
        return dict(answer.json())
