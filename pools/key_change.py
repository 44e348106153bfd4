"""Whether SECRET_KEY is the one that the database and its sandboxes know; what is wrong when it is not."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from pools import agent_keys, journal
from pools.models import Fleet, FleetEvent, Level, Sandbox
from pools.reasons import LogKind, StepCode

REMEDY = (
    "Put the former key into SECRET_KEY_FALLBACKS, and have the same keys on every machine. If it is lost, the "
    "sandboxes that were made under it are replaced as they end."
)


def key_trouble() -> str:
    """Return what is wrong with SECRET_KEY, and what to do; empty when nothing is."""
    known = agent_keys.known()
    closed = Sandbox.objects.existing().exclude(token_key__in=known).count()
    if closed:
        count = "1 sandbox was" if closed == 1 else f"{closed} sandboxes were"
        return f"SECRET_KEY was changed: {count} made under another one and can't be opened. {REMEDY}"
    if Fleet.get().key_fingerprint not in ("", *known):
        return f"SECRET_KEY is not the one that this database was used with. {REMEDY}"
    return ""


def settle(now: datetime) -> None:
    """Note the SECRET_KEY in use. When it was changed, say once what is wrong, or that nothing depends on the former
    one any more."""
    fleet, current = Fleet.get(), agent_keys.current()
    if fleet.key_fingerprint == current:
        return
    if Sandbox.objects.existing().exclude(token_key=current).exists():
        _say_once(key_trouble(), current, now)
        return
    if not fleet.key_fingerprint:  # a new database, or one of an older version
        Fleet.objects.filter(pk=1, key_fingerprint="").update(key_fingerprint=current)
        return
    with transaction.atomic():
        changed = Fleet.objects.filter(pk=1, key_fingerprint=fleet.key_fingerprint)
        if changed.update(key_fingerprint=current):
            message = "SECRET_KEY was changed, and no sandbox was made under the former one: that is needed no more"
            journal.record(LogKind.TROUBLE, message, code=StepCode.KEY_CHANGED, level=Level.WARNING, now=now)


def _say_once(trouble: str, current: str, now: datetime) -> None:
    if not trouble:  # the former key is at hand
        return
    said = FleetEvent.objects.filter(code=StepCode.KEY_CHANGED).order_by("-seq").first()
    if said is None or said.data.get("key") != current:
        journal.record(
            LogKind.TROUBLE, trouble, code=StepCode.KEY_CHANGED, level=Level.ERROR, now=now, data={"key": current}
        )
