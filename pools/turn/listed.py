"""The listing as the rows see it: which app a sandbox is, and how many are another installation's."""

from __future__ import annotations

from uuid import UUID

from pools.models import State
from pools.ownership import Identity, Standing
from pools.turn.facts import AppFacts, FleetFacts, SandboxFacts


class Listed:
    """The apps of a listing by id and by name."""

    def __init__(self, facts: FleetFacts) -> None:
        self.mark = facts.mark
        self.by_id = {app.id: app for app in facts.apps or ()}
        self.by_name: dict[str, AppFacts] = {}
        for app in facts.apps or ():
            # Names are unique; where a list shows one twice, an app of ours is not hidden by another's.
            if app.name not in self.by_name or self.mark.identity(app, app.name) == Identity.ITS_OWN:
                self.by_name[app.name] = app
        tracked = {sandbox.app_id for sandbox in facts.sandboxes}
        untracked = [app for app in self.by_id.values() if app.id not in tracked]
        self.others = sum(facts.standing(app) == Standing.ANOTHERS for app in untracked)
        self.crowded_out = self._crowded_out(facts) if self.others else set()

    def _crowded_out(self, facts: FleetFacts) -> set[UUID]:
        """The sandboxes not asked for yet that another installation's apps leave no place for: places were reserved
        before a listing had shown those."""
        unsent = [each for each in facts.sandboxes if each.state == State.REQUESTED and each.create_sent_at is None]
        over = max(0, len(facts.sandboxes) + self.others - facts.max_total)
        newest_first = sorted(unsent, key=lambda each: each.requested_at, reverse=True)
        return {sandbox.id for sandbox in newest_first[:over]}

    def app_of(self, sandbox: SandboxFacts) -> AppFacts | None:
        """Return the app under the sandbox's id, before there is one the app of its name. It may be another's."""
        return self.by_id.get(sandbox.app_id) if sandbox.app_id else self.by_name.get(sandbox.name)
