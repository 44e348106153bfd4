"""The runbook's sections: each alarm names its own. They are in docs/runbook.md, which the product shows at PAGE."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pools.alarm_rows import AlarmCode

PAGE = "/admin/runbook/"  # not by Django's `reverse`: workers, who tell of alarms, load no addresses


class Section(StrEnum):
    """A section, by its heading's anchor."""

    DOWN = "players-say-it-is-down"
    TOKEN = "the-token-is-refused"  # noqa: S105  an anchor
    DISK = "a-disk-is-full-or-nearly-so"
    DATABASE = "the-database-cant-be-written-to"
    BREAKER = "a-breaker-is-open"
    REFUSED_DELETE = "a-delete-is-refused"
    STOPPED = "deletions-are-stopped"
    NO_CLUSTER = "no-cluster-gives-a-sign-of-life"
    CLOUD = "digitalocean-is-slow-or-down"
    BACKUP = "a-backup-was-restored"
    SHARED_MARK = "two-installations-share-a-mark"
    COST = "it-costs-more-than-expected"
    ORPHANS = "apps-of-ours-without-a-record"
    DRIFT = "lost-or-drifting-sandboxes"
    SILENT_SANDBOXES = "sandboxes-do-not-answer"
    TURNS = "turns-die"
    SECRET_KEY = "the-secret-key-was-changed"  # noqa: S105
    CLOCK = "a-clock-is-off"
    TASKS = "tasks-fail-or-are-late"
    SIGN_INS = "sign-ins-fail"
    FULL = "no-place-is-left"
    SWITCHED_OFF = "it-was-switched-off"

    @property
    def url(self) -> str:
        """Where the product shows it, as a path."""
        return f"{PAGE}#{self}"


SECTION_OF: Mapping[AlarmCode, Section] = {
    AlarmCode.TOKEN_REFUSED: Section.TOKEN,
    AlarmCode.LISTING_FAILS: Section.CLOUD,
    AlarmCode.TURNS_DIE: Section.TURNS,
    AlarmCode.DELETIONS_STOPPED: Section.STOPPED,
    AlarmCode.DELETIONS_FAIL: Section.REFUSED_DELETE,
    AlarmCode.DELETE_REFUSED: Section.REFUSED_DELETE,
    AlarmCode.ORPHANS: Section.ORPHANS,
    AlarmCode.BREAKER_OPEN: Section.BREAKER,
    AlarmCode.CLUSTER_SILENT: Section.NO_CLUSTER,
    AlarmCode.DISK_LOW: Section.DISK,
    AlarmCode.DISK_FULL: Section.DISK,
    AlarmCode.DATABASE_UNWRITABLE: Section.DATABASE,
}
