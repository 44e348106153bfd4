"""The acts of a turn. Every act is small and may be repeated: it looks again, acts, and writes what came of it.

Rows are written by the turn's own thread; only the cloud and the agents are asked from several at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction
from django.db.models import F

from pools import claims, clock, journal
from pools.capacity import NoCapacity, reserve
from pools.cloud.app_platform import AppPlatform
from pools.cloud.budget import Share
from pools.cloud.errors import (
    AgentRefused,
    InvalidSpec,
    NameTaken,
    OverQuota,
    RateLimited,
    Unauthorized,
)
from pools.cloud.records import App, AppSpec, Phase, Proposal
from pools.edits import Of, edit
from pools.models import (
    BEING_CREATED,
    LIVE,
    ON_THE_WAY,
    CloudApp,
    FailureKind,
    Fleet,
    FleetEvent,
    Level,
    Mode,
    Origin,
    Pool,
    Sandbox,
    Stage,
    State,
)
from pools.occupants import served
from pools.reasons import CreateCode, EndCode, HoldCode, LogKind, StepCode
from pools.shared_budget import exchange
from pools.signals import cold_sandbox_healthy, staging_wanted
from pools.taken import taken_by
from pools.turn.asking import ASKED_A_TURN, Trouble, ask_all
from pools.turn.decisions import Decision, Kind, sandbox_id
from pools.turn.deletions import Deletions
from pools.turn.facts import AppFacts, FleetFacts
from pools.turn.identities import Identities
from pools.turn.look import look_at_all, note
from pools.turn.plan_sandbox import classify, failure_of

PROBE_TIMEOUT_SECONDS = 3.0

# Acts of as many requests as there are decisions.
ASKING = frozenset(
    {
        Kind.IDENTIFY, Kind.ASK, Kind.VERIFY, Kind.VERIFY_GONE, Kind.VERIFY_NAME, Kind.SEND_CREATE, Kind.CREATE,
        Kind.SEND_DELETE, Kind.DELETE_ORPHAN, Kind.DELETE_APP,
    }
)  # fmt: skip


RETIRED_FROM = {Kind.FAIL: ON_THE_WAY, Kind.LOSE: (State.IN_USE,), Kind.BURY: LIVE}


class Effects:
    """The acts of one turn. Each writes before it asks for anything that lasts. Who lost the turn's lease does neither:
    its writes are refused, and its requests are not sent."""

    def __init__(self, cloud: AppPlatform, facts: FleetFacts) -> None:
        self.cloud = cloud
        self.facts = facts
        self.apps = {app.id: app for app in facts.apps or ()}
        self.identities = Identities(cloud, facts)
        self.deletions = Deletions(cloud, facts, self.identities)

    def act(self, decisions: Iterable[Decision]) -> None:
        """Carry out every decision; what a player may wait for goes before deletions, which may take long."""
        by_kind: dict[Kind, list[Decision]] = {}
        for decision in decisions:
            by_kind.setdefault(decision.kind, []).append(decision)
        acts: dict[Kind, Callable[[list[Decision]], None]] = {
            Kind.STOP: self.stop,
            Kind.IDENTIFY: self.identities.identify,
            Kind.ADOPT: self.adopt,
            Kind.NOTE_MISSING: self.note_missing,
            Kind.NOTE_FOUND: self.note_found,
            Kind.NOTE_ORPHAN: self.note_orphans,
            Kind.FAIL: self.retire,
            Kind.RETIRE: self.retire,
            Kind.LOSE: self.retire,
            Kind.EXPIRE: self.retire,
            Kind.BURY: self.retire,
            Kind.VERIFY: self.verify,
            Kind.CONFIRM_DELETED: self.deletions.confirm_deleted,
            Kind.VERIFY_GONE: self.deletions.verify_gone,
            Kind.VERIFY_NAME: self.verify_names,
            Kind.PROBE: self.probe,
            Kind.ASK: self.ask,
            Kind.SEND_CREATE: self.send_creates,
            Kind.SEND_DELETE: self.deletions.send_deletes,
            Kind.DELETE_ORPHAN: self.deletions.delete_apps,
            Kind.DELETE_APP: self.deletions.delete_apps,
            Kind.STAGE: self.stage_again,
            Kind.SET_TARGET: self.set_targets,
            Kind.CREATE: self.create,
            Kind.LOOK: self.look,
            Kind.HOLD: self.explain,
        }
        self.deletions.note_if_nothing_is_left()
        if Kind.STOP not in by_kind and self.facts.stopped and self.facts.is_trusted:
            self.go_on()
        self.identities.note_known()
        for kind, act in acts.items():
            if kind in by_kind:
                if kind in ASKING:
                    exchange(self.cloud)
                act(by_kind[kind])

    # Deletions.

    def retire(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            kind = decision.failure_kind or ""
            level = Level.WARNING if kind or decision.kind == Kind.BURY else Level.INFO
            now = clock.now()
            if decision.kind == Kind.EXPIRE:
                claims.expire(sandbox_id(decision), decision.reason, now)
                continue
            # What has become a sandbox is no failed create any more; what policy retires must still be idle, and what
            # is given up while it is played must not have been taken since.
            frm = RETIRED_FROM.get(decision.kind, (State.READY, *BEING_CREATED))
            code = EndCode(decision.code)
            claims.retire(sandbox_id(decision), code, decision.reason, now, frm=frm, failure_kind=kind, level=level)

    def verify_names(self, decisions: list[Decision]) -> None:
        """Names are unique in the account: one that is free proves that no app of that name exists."""
        sandboxes = Sandbox.objects.in_bulk([sandbox_id(decision) for decision in decisions[:ASKED_A_TURN]])
        asked = [decision for decision in decisions if sandbox_id(decision) in sandboxes]
        self._note_asked(asked)
        specs = {decision: sandboxes[sandbox_id(decision)].spec(self.facts.installation) for decision in asked}
        for decision, answer in ask_all(lambda d: self.cloud.propose(specs[d]), asked):
            sandbox = sandboxes[sandbox_id(decision)]
            if isinstance(answer, InvalidSpec) or (isinstance(answer, Proposal) and answer.name_is_available):
                self.deletions.confirm_deleted([decision])
                self._does_not_exist(sandbox)
            elif isinstance(answer, Proposal):
                self._exists(sandbox)

    def verify(self, decisions: list[Decision]) -> None:
        """Missing from the listings: the app itself is asked for, because listings may lag."""
        found = []
        for decision, answer in ask_all(lambda d: self.cloud.get(d.app_id), decisions[:ASKED_A_TURN]):
            row = Sandbox.objects.filter(pk=sandbox_id(decision), app_id=decision.app_id)
            if answer is None:
                row.filter(vanished_at=None).update(vanished_at=clock.now())
            elif isinstance(answer, App):
                row.update(verified_at=clock.now())
                if self.identities.is_it(decision, answer):
                    found.append((decision, answer))
        self._told(found)

    def ask(self, decisions: list[Decision]) -> None:
        """How sandboxes that are being created are, by their own records."""
        asked = decisions[:ASKED_A_TURN]
        self._note_asked(asked)
        answers = ask_all(lambda d: self.cloud.get(d.app_id), asked)
        told = [(decision, answer) for decision, answer in answers if isinstance(answer, App)]
        self._told([(decision, answer) for decision, answer in told if self.identities.is_it(decision, answer)])

    def _note_asked(self, decisions: list[Decision]) -> None:
        ids = [sandbox_id(decision) for decision in decisions]
        Sandbox.objects.filter(pk__in=ids).update(health_checked_at=clock.now())

    def _told(self, told: list[tuple[Decision, App]]) -> None:
        """What follows for a sandbox that is being created; others are left alone."""
        active = []
        for decision, app in told:
            if app.phase in (Phase.ERROR, Phase.CANCELED):
                reason, kind = failure_of(app)
                claims.retire(
                    sandbox_id(decision),
                    EndCode.DEPLOYMENT_FAILED,
                    reason,
                    clock.now(),
                    frm=BEING_CREATED,
                    failure_kind=kind,
                    level=Level.WARNING,
                )
            elif app.phase == Phase.ACTIVE and app.url:
                self.apps[app.id] = AppFacts.of(app)
                active.append(decision)
        self.probe(active)

    def note_missing(self, decisions: list[Decision]) -> None:
        ids = [sandbox_id(decision) for decision in decisions]
        Sandbox.objects.filter(pk__in=ids, missing_since=None).update(missing_since=clock.now())

    def note_found(self, decisions: list[Decision]) -> None:
        found = Sandbox.objects.filter(pk__in=[sandbox_id(decision) for decision in decisions])
        found.update(missing_since=None, verified_at=None, vanished_at=None)

    def note_orphans(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            row = CloudApp.objects.filter(pk=decision.app_id).first()
            if row is None:
                continue
            if row.orphan_since is None:
                row.orphan_since = clock.now()
                name, app_id = decision.name, decision.app_id
                message = f"orphan: {decision.reason}"
                journal.record(
                    LogKind.ORPHAN, message, code=decision.code, level=Level.WARNING, name=name, app_id=app_id
                )
            row.orphan_listings += 1
            row.save(update_fields=["orphan_since", "orphan_listings"])

    def stop(self, decisions: list[Decision]) -> None:
        reason = decisions[0].reason
        if Fleet.objects.filter(pk=1, stopped_at=None).update(stopped_at=clock.now(), stopped_reason=reason):
            journal.record(LogKind.STOP, f"STOPPED: {reason}", code=decisions[0].code, level=Level.ERROR)
        else:
            Fleet.objects.filter(pk=1).update(stopped_reason=reason)

    def go_on(self) -> None:
        Fleet.objects.filter(pk=1).update(stopped_at=None, stopped_reason="")
        journal.record(LogKind.GO, "deletions go on: no more than allowed are due")

    # Sizes.

    def set_targets(self, decisions: list[Decision]) -> None:
        """Where an operator has set something else meanwhile, or switched the autopilot off, that holds."""
        for decision in decisions:
            if decision.target_ready is None:
                continue
            was, target = decision.target_ready
            with transaction.atomic():
                pools = Pool.objects.filter(pk=decision.pool_id or 0, mode=Mode.ACTIVE, autopilot=True)
                if pools.filter(target_ready=was, max_ready__gte=target).update(target_ready=target):
                    message, pool = f"pool {decision.name}: {decision.reason}", pools.get()
                    data = edit(Of.POOL, pool.name, {"target_ready": (was, target)}).data()
                    journal.record(LogKind.POOL, message, code=decision.code, pool=pool, data=data)

    # Creates.

    def create(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            pool = Pool.objects.filter(pk=decision.pool_id or 0).first()
            if pool is None or not self.cloud.budget.remaining(share=Share.LISTING):
                continue
            now = clock.now()
            try:
                sandbox = reserve(
                    runtime=pool.runtime,
                    origin=Origin.POOL,
                    code=CreateCode(decision.code),
                    reason=decision.reason,
                    now=now,
                    pool=pool,
                )
            except NoCapacity as error:
                reason = f"pool {pool.name}: no create: {error}"
                self.explain([Decision(Kind.HOLD, HoldCode.NO_PLACE, reason, pool_id=pool.pk, name=pool.name)])
                continue
            if sandbox is not None:
                send = Decision(Kind.SEND_CREATE, StepCode.RESERVED, decision.reason, sandbox.id, name=sandbox.name)
                self.send_creates([send])

    def send_creates(self, decisions: list[Decision]) -> None:
        if not self.cloud.budget.remaining(share=Share.LISTING):
            decisions = [decision for decision in decisions if self._is_waited_for(decision)]
        now = clock.now()
        sending = []
        for decision in decisions:
            first = Sandbox.objects.filter(pk=sandbox_id(decision), create_sent_at=None).exists()
            if Sandbox.objects.filter(app_id=None).move(
                sandbox_id(decision),
                frm=BEING_CREATED,
                to=State.CREATING,
                create_sent_at=now,
                create_attempts=F("create_attempts") + 1,
            ):
                sandbox = Sandbox.objects.get(pk=sandbox_id(decision))
                sending.append((sandbox, sandbox.spec(self.facts.installation), first))
        for (sandbox, _, first), answer in ask_all(self._create, sending):
            if isinstance(answer, App):
                self._accepted(sandbox, answer.id, "accepted by the cloud")
            elif isinstance(answer, Trouble):
                self._not_created(sandbox, answer, first=first)

    def _create(self, sending: tuple[Sandbox, AppSpec, bool]) -> App:
        sandbox, spec, _ = sending
        with sandbox.is_subject():
            return self.cloud.create(spec)

    def _is_waited_for(self, decision: Decision) -> bool:
        return Sandbox.objects.filter(pk=sandbox_id(decision), origin=Origin.COLD).exists()

    def _accepted(self, sandbox: Sandbox, app_id: str, how: str, *, is_known: bool = False) -> None:
        """Note the app's id whatever became of the row meanwhile: a sandbox that is to be deleted needs it, too.
        `is_known`: a listing shows our name and mark under it."""
        with transaction.atomic():
            now = clock.now()
            if (holder := Sandbox.objects.filter(app_id=app_id).exclude(pk=sandbox.pk).first()) is not None:
                message = f"not taken: the id {app_id} is that of {holder.name}"
                code = StepCode.ID_OF_ANOTHER
                journal.record(LogKind.TROUBLE, message, code=code, sandbox=sandbox, now=now, level=Level.ERROR)
                return
            fields: dict[str, Any] = {
                "app_id": app_id,
                "known_app_id": app_id if is_known else "",
                "accepted_at": sandbox.accepted_at or now,
                "trouble": "",
                "trouble_code": "",
            }
            if Sandbox.objects.filter(pk=sandbox.pk, app_id=None).update(**fields):
                Sandbox.objects.move(sandbox.pk, frm=[State.REQUESTED], to=State.CREATING)
                sandbox.refresh_from_db()
                message = f"{how}: {sandbox.create_reason}"
                journal.record(LogKind.ACCEPTED, message, code=sandbox.create_code, sandbox=sandbox, now=now)

    def _not_created(self, sandbox: Sandbox, error: Trouble, *, first: bool) -> None:
        refused = isinstance(error, InvalidSpec | OverQuota | Unauthorized)
        fields: dict[str, Any] = {"trouble": str(error), "trouble_code": error.code}
        if first and (refused or isinstance(error, RateLimited)):
            fields["create_sent_at"] = None  # the cloud said no: nothing exists that would have to be deleted
        Sandbox.objects.filter(pk=sandbox.pk).update(**fields)
        if refused:
            said = error.said if isinstance(error, InvalidSpec) else ""
            kind = FailureKind.QUOTA if isinstance(error, OverQuota) else classify(said)
            reason = f"DigitalOcean refused it: {error}"
            code = EndCode.TOKEN_REFUSED if isinstance(error, Unauthorized) else EndCode.REFUSED
            claims.retire(
                sandbox.pk, code, reason, clock.now(), frm=BEING_CREATED, failure_kind=kind, level=Level.WARNING
            )
        elif isinstance(error, NameTaken):
            self._exists(sandbox)
        else:
            message = f"not created yet: {error}"
            journal.record(LogKind.TROUBLE, message, code=error.code, sandbox=sandbox, level=Level.WARNING)

    def _exists(self, sandbox: Sandbox) -> None:
        """Its name is taken: an earlier create took effect, and a listing will show it. Until then nothing replaces
        it, because listings may lag for long."""
        if Sandbox.objects.filter(pk=sandbox.pk, accepted_at=None).update(accepted_at=clock.now()):
            message = "it exists, because its name is taken; no listing shows it yet"
            journal.record(LogKind.TROUBLE, message, code=NameTaken.code, sandbox=sandbox, level=Level.WARNING)

    def _does_not_exist(self, sandbox: Sandbox) -> None:
        """Its name was taken and is free now: it is asked for again, like one whose create was never answered."""
        trouble = "its name was said to be taken, and then to be free"
        being_created = Sandbox.objects.filter(pk=sandbox.pk, app_id=None, state__in=BEING_CREATED)
        if being_created.exclude(accepted_at=None).update(accepted_at=None, trouble=trouble):
            message = f"it does not exist: {trouble}"
            journal.record(LogKind.TROUBLE, message, code=StepCode.NAME_FREE, sandbox=sandbox, level=Level.WARNING)

    def adopt(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            sandbox = Sandbox.objects.get(pk=sandbox_id(decision))
            self._accepted(sandbox, decision.app_id, f"adopted ({decision.reason})", is_known=True)

    # From healthy to ready.

    def probe(self, decisions: list[Decision]) -> None:
        sandboxes = Sandbox.objects.filter(state=State.CREATING).in_bulk(
            [sandbox_id(decision) for decision in decisions]
        )
        probed = []
        for decision in decisions:
            sandbox, app = sandboxes.get(sandbox_id(decision)), self.apps[decision.app_id]
            if sandbox is not None:
                if sandbox.url != app.url:
                    sandbox.url = app.url or ""
                    sandbox.save(update_fields=["url"])
                probed.append(sandbox)
        for sandbox, answer in ask_all(lambda s: s.agent().look(PROBE_TIMEOUT_SECONDS), probed):
            if isinstance(answer, Trouble):
                is_refused = isinstance(answer, AgentRefused)
                Sandbox.objects.filter(pk=sandbox.pk).update(
                    trouble=str(answer),
                    trouble_code=answer.code,
                    health_failures=sandbox.health_failures + 1 if is_refused else 0,
                )
            elif sandbox.origin == Origin.POOL and (run := taken_by(answer)):
                claims.leave_alone(sandbox.pk, run, clock.now(), frm=[State.CREATING])
            else:
                self._healthy(sandbox)

    def _healthy(self, sandbox: Sandbox) -> None:
        now = clock.now()
        if sandbox.trouble_code:
            Sandbox.objects.filter(pk=sandbox.pk).update(trouble="", trouble_code="", health_failures=0)
        if sandbox.origin == Origin.COLD:
            with transaction.atomic():
                Sandbox.objects.filter(pk=sandbox.pk, healthy_at=None).update(healthy_at=now, health_checked_at=now)
                sandbox.refresh_from_db()
                cold_sandbox_healthy.send(sender=Sandbox, sandbox=sandbox, now=now)
        elif sandbox.pool is None:
            claims.retire(sandbox.pk, EndCode.POOL_DELETED, "its pool was deleted", now, frm=[State.CREATING])
        elif sandbox.pool.stage == Stage.NONE:
            claims.make_ready(sandbox.pk, now)
        else:
            with transaction.atomic():
                fields = {"healthy_at": now, "staging_started_at": now, "health_checked_at": now}
                if Sandbox.objects.move(sandbox.pk, frm=[State.CREATING], to=State.STAGING, **fields):
                    sandbox.refresh_from_db()
                    staging_wanted.send(sender=Sandbox, sandbox=sandbox, now=now)

    def stage_again(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            with transaction.atomic():
                now = clock.now()
                staging = Sandbox.objects.filter(pk=sandbox_id(decision), state=State.STAGING)
                if staging.update(staging_started_at=now):
                    staging_wanted.send(sender=Sandbox, sandbox=staging.get(), now=now)

    def look(self, decisions: list[Decision]) -> None:
        ids = [sandbox_id(decision) for decision in decisions]
        sandboxes = list(Sandbox.objects.filter(pk__in=ids, state__in=[State.READY, State.IN_USE]))
        seen = look_at_all(sandboxes, served([each.pk for each in sandboxes if each.state == State.IN_USE]))
        note(seen, clock.now())

    def explain(self, decisions: list[Decision]) -> None:
        """Write a reason for not acting to the log once, until something else happens to that pool."""
        for decision in decisions:
            said = FleetEvent.objects.filter(pool_name=decision.name, kind__in=[LogKind.HOLD, LogKind.CREATE]).first()
            if said is None or (said.kind, said.code) != (LogKind.HOLD, decision.code):
                pool = Pool.objects.filter(name=decision.name).first()
                journal.record(LogKind.HOLD, decision.reason, code=decision.code, pool=pool)
