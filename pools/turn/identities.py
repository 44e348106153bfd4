"""Whose the ids in our rows are: an id counts as a sandbox's once its name and our mark were seen under it."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import F

from pools import claims, clock, journal
from pools.cloud.app_platform import AppPlatform
from pools.cloud.records import App
from pools.models import Fleet, Level, Sandbox, State
from pools.ownership import Identity
from pools.reasons import EndCode, LogKind, StepCode
from pools.turn.asking import ASKED_A_TURN, ask_all
from pools.turn.decisions import Decision, sandbox_id
from pools.turn.facts import FleetFacts

KNOWN_AT_ONCE = 5_000  # below SQLite's limit of variables


class Identities:
    """What a turn finds out about the ids, and forgets."""

    def __init__(self, cloud: AppPlatform, facts: FleetFacts) -> None:
        self.cloud = cloud
        self.facts = facts
        self.mark = facts.mark

    def note_known(self) -> None:
        """The listing shows these ids under their sandboxes' names and our mark."""
        apps = {app.id: app for app in self.facts.apps or ()}
        new = [(each, apps.get(each.app_id or "")) for each in self.facts.sandboxes if not each.is_known]
        known = [each.id for each, app in new if app and self.mark.identity(app, each.name) == Identity.ITS_OWN]
        for start in range(0, len(known), KNOWN_AT_ONCE):
            rows = Sandbox.objects.filter(pk__in=known[start : start + KNOWN_AT_ONCE])
            rows.exclude(app_id=None).update(known_app_id=F("app_id"))

    def identify(self, decisions: Sequence[Decision]) -> None:
        """The app's own record tells whose the id is. One that is another's, or nobody's, is forgotten."""
        for decision, answer in ask_all(lambda d: self.cloud.get(d.app_id), decisions[:ASKED_A_TURN]):
            if answer is None:
                self.forget_id(decision, "no app has it")
            elif isinstance(answer, App):
                self.is_it(decision, answer)

    def is_it(self, decision: Decision, app: App) -> bool:
        """Whether the app's own record says that it is the sandbox whose row has its id. If it says that it is not, the
        id is forgotten."""
        row = Sandbox.objects.filter(pk=sandbox_id(decision), app_id=app.id).first()
        if row is None:
            return False
        identity = self.mark.identity(app, row.name, is_known=row.is_known)
        if identity == Identity.ITS_OWN:
            Sandbox.objects.filter(pk=row.pk).exclude(known_app_id=app.id).update(known_app_id=app.id)
        elif identity == Identity.ANOTHERS:
            self.forget_id(decision, f"it is that of {app.name or 'an app without a name'}, which is not ours")
        return identity == Identity.ITS_OWN

    @transaction.atomic
    def forget_id(self, decision: Decision, why: str) -> None:
        """The id in a row is not its app's: nothing may be sent there. Its own app is looked for by its name; where
        somebody may use what answers at the address, that ends."""
        Fleet.lock()
        now = clock.now()
        holding = Sandbox.objects.filter(pk=sandbox_id(decision), app_id=decision.app_id)
        if not holding.update(
            app_id=None,
            known_app_id="",
            url="",
            missing_since=None,
            verified_at=None,
            vanished_at=None,
            trouble=f"its id was wrong: {why}",
        ):
            return
        reason = f"the id {decision.app_id} in our record is not its app's: {why}"
        in_use = (State.STAGING, State.READY, State.IN_USE)
        claims.retire(sandbox_id(decision), EndCode.NOT_OURS, reason, now, frm=in_use, level=Level.ERROR)
        journal.record(
            LogKind.TROUBLE,
            reason,
            code=StepCode.ID_OF_ANOTHER,
            level=Level.ERROR,
            name=decision.name,
            app_id=decision.app_id,
            now=now,
        )

    def surely_ours(self, decisions: list[Decision]) -> list[Decision]:
        """Those whose ids lead to apps of ours. Of an id that only a create has named, the app itself tells; one that
        is another's, or nobody's, is forgotten."""
        rows = Sandbox.objects.in_bulk([sandbox_id(decision) for decision in decisions])
        known = [decision for decision in decisions if rows[sandbox_id(decision)].is_known]
        asked = [decision for decision in decisions if not rows[sandbox_id(decision)].is_known]
        self.identify(asked)
        rows = Sandbox.objects.in_bulk([sandbox_id(decision) for decision in asked])
        return known + [decision for decision in asked[:ASKED_A_TURN] if rows[sandbox_id(decision)].is_known]
