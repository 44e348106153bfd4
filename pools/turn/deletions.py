"""Deletions: asked for until the cloud itself says that the app is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from pools import clock, journal
from pools.cloud.app_platform import AppPlatform
from pools.cloud.budget import Share
from pools.cloud.errors import RateLimited, Unauthorized
from pools.models import CloudApp, Fleet, FleetEvent, Level, Sandbox, State
from pools.reasons import LogKind
from pools.turn.asking import ASKED_A_TURN, Trouble, ask_all
from pools.turn.attempts import FAILURES, REFUSALS
from pools.turn.decisions import Decision, Kind, sandbox_id
from pools.turn.facts import FleetFacts, PoolFacts
from pools.turn.identities import Identities

DELETES_A_TURN = 40  # the rest is for the next: meanwhile somebody may have launched
DELETES_IN_A_BURST = 5  # players wait for the processor and the requests that deleting takes
BURST_SECONDS = 3  # after a launch
LONGEST_DELAY_SECONDS = 60  # what is not needed costs money


def deletes_a_turn(facts: FleetFacts, now: datetime) -> int:
    """How many deletions one turn asks for: few while players launch, unless somebody waits for a place, or the
    deletions have waited for long."""
    if facts.demand.places or not any(_is_launching(pool, now) for pool in facts.pools):
        return DELETES_A_TURN
    unsent = [s.delete_requested_at for s in facts.sandboxes if s.delete_requested_at and not s.delete_sent_at]
    has_waited = any(now - requested_at > timedelta(seconds=LONGEST_DELAY_SECONDS) for requested_at in unsent)
    return DELETES_A_TURN if has_waited else DELETES_IN_A_BURST


def _is_launching(pool: PoolFacts, now: datetime) -> bool:
    idle = pool.idle_for(now)
    return idle is not None and abs(idle) < timedelta(seconds=BURST_SECONDS)


def longest_unasked(decisions: Sequence[Decision], sent: Mapping[str, datetime | None]) -> list[Decision]:
    """What was never asked for first, then what was asked for longest ago: what is refused again and again keeps
    nothing else waiting. `sent`: when each target was last asked for. Pure."""

    def waited(decision: Decision) -> float:
        at = sent.get(decision.target)
        return at.timestamp() if at is not None else 0.0

    return sorted(decisions, key=waited)


def note_sent(app_ids: Sequence[str], now: datetime) -> None:
    """The cloud is asked to delete these, once more: said in the rows of whatever is to go."""
    sent = {"delete_sent_at": now, "delete_attempts": F("delete_attempts") + 1}
    Sandbox.objects.filter(app_id__in=app_ids, state=State.DELETING).update(**sent)
    CloudApp.objects.filter(pk__in=app_ids).exclude(delete_reason="").update(**sent)


def note_answers(answers: Sequence[tuple[str, bool | Trouble]]) -> None:
    """What came of it, by the app's id: why it failed, or that what failed before does not any more."""
    for app_id, answer in answers:
        if isinstance(answer, Trouble):
            why = {"trouble": str(answer), "trouble_code": answer.code}
            rows = Sandbox.objects.filter(app_id=app_id, state=State.DELETING)
            apps = CloudApp.objects.filter(pk=app_id).exclude(delete_reason="")
            if answer.code == RateLimited.code:  # that says nothing about the app
                rows, apps = rows.exclude(trouble_code__in=REFUSALS), apps.exclude(trouble_code__in=REFUSALS)
            rows.update(**why)
            apps.update(**why)
    taken = [app_id for app_id, answer in answers if not isinstance(answer, Trouble)]
    nothing = {"trouble": "", "trouble_code": ""}
    Sandbox.objects.filter(app_id__in=taken, trouble_code__in=FAILURES).update(**nothing)
    CloudApp.objects.filter(pk__in=taken, trouble_code__in=FAILURES).update(**nothing)


class Deletions:
    """A turn's requests to delete, and what came of them."""

    def __init__(self, cloud: AppPlatform, facts: FleetFacts, identities: Identities) -> None:
        self.cloud = cloud
        self.facts = facts
        self.identities = identities

    def note_if_nothing_is_left(self) -> None:
        """With nothing left to delete, nothing can fail."""
        is_deleting = any(sandbox.state == State.DELETING for sandbox in self.facts.sandboxes)
        if not is_deleting and self.facts.is_trusted and not any(app.delete_reason for app in self.facts.apps or ()):
            self._deletes_work()

    def send_deletes(self, decisions: list[Decision]) -> None:
        now = clock.now()
        most = min(deletes_a_turn(self.facts, now), self._room())
        sent = {str(sandbox.id): sandbox.delete_sent_at for sandbox in self.facts.sandboxes}
        decisions = self.identities.surely_ours(longest_unasked(decisions, sent)[:most])
        note_sent([d.app_id for d in decisions], now)
        for decision, answer in self._delete(decisions):
            if isinstance(answer, Trouble):
                self._not_deleted(decision, answer)
            elif not answer:
                self.confirm_deleted([decision])

    def _room(self) -> int:
        """How many requests of deletions may be sent now: what there is no room for is left to a later turn."""
        return self.cloud.budget.remaining(share=Share.DELETING)

    def _delete(self, decisions: list[Decision]) -> list[tuple[Decision, bool | Trouble]]:
        """Ask for the deletions, and note since when none is accepted."""
        answers = ask_all(lambda d: self.cloud.delete(d.app_id), decisions)
        note_answers([(d.app_id, answer) for d, answer in answers])
        if any(not isinstance(answer, Trouble) for _, answer in answers):
            self._deletes_work()
            return answers
        refused = {d.app_id: answer for d, answer in answers if not isinstance(answer, RateLimited)}
        # One app that can't be deleted says nothing of the others, unless it is our token that may not.
        all_refused = self._refused() | refused.keys()
        if refused and (len(all_refused) > 1 or any(isinstance(answer, Unauthorized) for answer in refused.values())):
            Fleet.objects.filter(pk=1).update(deletes_error=str(next(iter(refused.values()))))
            Fleet.objects.filter(pk=1, deletes_failing_since=None).update(deletes_failing_since=clock.now())
        return answers

    def _refused(self) -> set[str]:
        """The apps whose deletion was refused when it was last asked for, and is asked for again."""
        refused = {s.app_id for s in self.facts.sandboxes if s.delete_sent_at and s.trouble_code in REFUSALS}
        ordered = {app.id for app in self.facts.apps or () if app.delete_reason and app.trouble_code in REFUSALS}
        return {app_id for app_id in refused | ordered if app_id}

    def _deletes_work(self) -> None:
        failing = Fleet.objects.filter(pk=1, deletes_failing_since__isnull=False)
        failing.update(deletes_failing_since=None, deletes_error="")

    def _not_deleted(self, decision: Decision, error: Trouble) -> None:
        """Said once, until something else happens to that app: the delete itself is repeated until it works."""
        said = FleetEvent.objects.filter(sandbox_name=decision.name).first()
        if said is None or (said.kind, said.code) != (LogKind.TROUBLE, error.code):
            name, app_id = decision.name, decision.app_id
            message = f"not deleted yet: {error}"
            journal.record(LogKind.TROUBLE, message, code=error.code, level=Level.WARNING, name=name, app_id=app_id)

    def confirm_deleted(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            with transaction.atomic():
                now = clock.now()
                if Sandbox.objects.move(sandbox_id(decision), frm=[State.DELETING], to=State.DELETED, deleted_at=now):
                    sandbox = Sandbox.objects.get(pk=sandbox_id(decision))
                    message = f"deleted: {sandbox.end_reason}"
                    journal.record(LogKind.DELETED, message, code=sandbox.end_code, sandbox=sandbox, now=now)

    def verify_gone(self, decisions: list[Decision]) -> None:
        """No listing shows it any more, but a listing may be older than the app: only the cloud's own word frees its
        place."""
        # Of many deletions, too, launches keep their share.
        decisions = decisions[: min(ASKED_A_TURN, self.cloud.budget.remaining(share=Share.ASKING))]
        for decision, answer in ask_all(lambda d: self.cloud.get(d.app_id), decisions):
            if answer is None:
                self.confirm_deleted([decision])
                self._deletes_work()  # whatever was answered when it was asked for

    def delete_apps(self, decisions: list[Decision]) -> None:
        """Written first, so that it is carried out whatever happens to this process."""
        sent = {app.id: app.delete_sent_at for app in self.facts.apps or ()}
        decisions = longest_unasked(decisions, sent)[: min(DELETES_A_TURN, self._room())]
        for decision in decisions:
            with transaction.atomic():
                CloudApp.objects.filter(pk=decision.app_id).update(delete_reason=decision.reason)
                note_sent([decision.app_id], clock.now())
                if decision.kind == Kind.DELETE_ORPHAN:  # what an operator ordered was noted with the order
                    reason, name, app_id = decision.reason, decision.name, decision.app_id
                    journal.record(
                        LogKind.DELETE, reason, code=decision.code, level=Level.WARNING, name=name, app_id=app_id
                    )
        for decision, answer in self._delete(decisions):
            if isinstance(answer, Trouble):
                self._not_deleted(decision, answer)
            elif not answer:
                # A listing that lags shows it once more: then it is nobody's order, and noted anew.
                CloudApp.objects.filter(pk=decision.app_id).delete()
                message = f"deleted: {decision.reason}"
                name, app_id = decision.name, decision.app_id
                journal.record(LogKind.DELETED, message, code=decision.code, name=name, app_id=app_id)
