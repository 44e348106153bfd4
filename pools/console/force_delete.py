"""Deleting what an operator has picked, now and until it is gone: at once as far as the cloud lets us, then in each
turn by the reconciler, from the reason that is written first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.db import transaction

from pools import claims, clock, journal
from pools.cloud.app_platform import AppPlatform
from pools.cloud.errors import AgentError, CloudError
from pools.console.fleet_page import picture
from pools.console.fleet_table import Row
from pools.models import LIVE, CloudApp, Level, Sandbox, State
from pools.nudge import nudge
from pools.ownership import Identity, our_mark
from pools.reasons import EndCode, LogKind
from pools.shared_budget import counted
from pools.turn.asking import ask_all
from pools.turn.deletions import note_answers, note_sent

AT_ONCE_MOST = 50  # an operator waits for these; the next turns send the others


class Fate(StrEnum):
    """The fate of one that was picked."""

    DELETED = "deleted"
    ORDERED = "ordered"
    DELAYED = "delayed"  # the cloud did not take the order yet
    GONE = "gone"
    TRACKED = "tracked"
    NOT_TYPED = "not_typed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of one that was picked, and a sentence about it."""

    key: str
    name: str
    fate: Fate
    message: str
    app_id: str = ""

    @property
    def is_ordered(self) -> bool:
        """Whether it goes, now or later."""
        return self.fate in (Fate.DELETED, Fate.ORDERED, Fate.DELAYED)

    @property
    def is_done(self) -> bool:
        """Whether nothing went wrong on the way."""
        return self.fate in (Fate.DELETED, Fate.ORDERED)


def _gone(key: str, name: str) -> Outcome:
    return Outcome(key, name, Fate.GONE, "it was gone already")


def force_delete(
    keys: Sequence[str],
    *,
    actor: str,
    reason: str,
    typed_names: Mapping[str, str] | None = None,
    code: EndCode = EndCode.FORCE_DELETED,
) -> list[Outcome]:
    """Delete the rows of these keys (`Row.key`). A foreign app goes only with its name in `typed_names`, by key.

    One that fails does not stop the others. Each order is written before the cloud is asked, outside of any
    transaction, so that it is carried out whatever happens to this process.
    """
    rows = picture(clock.now()).by_key()
    tracked = {f"app:{row.app_id}": row.name for row in rows.values() if row.sandbox is not None}
    outcomes: dict[str, Outcome] = {}
    sent: list[Outcome] = []
    for key in dict.fromkeys(keys):
        row = rows.get(key)
        if key in tracked:
            message = "it is a sandbox of ours by now: pick that if it must go"
            outcomes[key] = Outcome(key, tracked[key], Fate.TRACKED, message)
        elif row is None or (row.sandbox is not None and row.sandbox.state == State.DELETED):
            outcomes[key] = _gone(key, row.name if row else key.partition(":")[2])
        elif row.is_foreign and (typed_names or {}).get(key) != row.name:
            message = f"it is foreign, and its name was not typed: {row.name}"
            outcomes[key] = Outcome(key, row.name, Fate.NOT_TYPED, message)
        else:
            outcomes[key] = _order(row, actor, code, reason)
            if outcomes[key].is_ordered and outcomes[key].app_id:
                sent.append(outcomes[key])
    if sent:
        with counted() as cloud:
            outcomes |= {outcome.key: outcome for outcome in _send(cloud, sent[:AT_ONCE_MOST], actor)}
    nudge()
    return list(outcomes.values())


@transaction.atomic
def _order(row: Row, actor: str, code: EndCode, reason: str) -> Outcome:
    """Write down that it goes. From here on the reconciler deletes it in each turn until it is gone."""
    now, why = clock.now(), f"force delete by an operator: {reason}"
    later = "ordered; the next turn sends it"
    if row.sandbox is not None:
        retired = claims.retire(row.sandbox.pk, code, why, now, frm=LIVE, actor=actor, level=Level.WARNING)
        sandbox = Sandbox.objects.get(pk=row.sandbox.pk)
        if sandbox.state == State.DELETED:
            return _gone(row.key, row.name)
        if not retired:  # it was going already: the order is noted all the same
            journal.record(LogKind.DELETE, why, code=code, sandbox=sandbox, now=now, actor=actor, level=Level.WARNING)
        # Before its app was seen under that id, only a turn may find out what the id leads to.
        is_known = sandbox.is_known
        if row.app is not None:
            is_known = our_mark().identity(row.app, sandbox.name, is_known=is_known) == Identity.ITS_OWN
        return Outcome(row.key, row.name, Fate.ORDERED, later, (sandbox.app_id or "") if is_known else "")
    if not CloudApp.objects.filter(pk=row.app_id).update(delete_reason=why):
        return _gone(row.key, row.name)
    name, app_id = row.name, row.app_id
    journal.record(LogKind.DELETE, why, code=code, name=name, app_id=app_id, now=now, actor=actor, level=Level.WARNING)
    return Outcome(row.key, row.name, Fate.ORDERED, later, row.app_id)


def _send(cloud: AppPlatform, ordered: Sequence[Outcome], actor: str) -> list[Outcome]:
    note_sent([outcome.app_id for outcome in ordered], clock.now())
    outcomes = []
    answers = ask_all(lambda each: cloud.delete(each.app_id), ordered)
    note_answers([(order.app_id, answer) for order, answer in answers])
    for order, answer in answers:
        name, app_id = order.name, order.app_id
        if isinstance(answer, CloudError | AgentError):
            fate, message = Fate.DELAYED, f"ordered, not deleted yet: {answer} It is repeated until it is gone."
            kind, code, level = LogKind.TROUBLE, answer.code, Level.WARNING
        else:
            fate, message = Fate.DELETED, "deleted" if answer else "it was gone already"
            kind, code, level = LogKind.DELETED, "", Level.INFO
        journal.record(kind, message, code=code, name=name, app_id=app_id, actor=actor, level=level)
        outcomes.append(Outcome(order.key, name, fate, message, app_id))
    return outcomes


def ours(rows: Sequence[Row]) -> list[Row]:
    """Return what a sweep deletes: everything that carries our mark or has a row of ours, nothing foreign."""
    return [row for row in rows if not row.is_foreign and not (row.sandbox and row.sandbox.state == State.DELETED)]
