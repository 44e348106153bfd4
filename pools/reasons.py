"""The codes of every create, end, hold and log line. Logic reads these; the sentences beside them are for people.

Each code has a title, which filters and lists show. A sentence says what was measured: how long, how many, which.
"""

from __future__ import annotations

from enum import StrEnum

from django.db import models


class CreateCode(models.TextChoices):
    """Reasons for making a sandbox."""

    DEMAND = "demand", "Somebody launched lately"
    WAITING = "waiting", "A launch waits"
    IDLE_FLOOR = "idle_floor", "The pool's idle floor"
    COLD = "cold", "Cold start, as asked"
    COLD_FALLBACK = "cold_fallback", "Cold start, no warm one was free"
    BUILD = "build", "Builds a snapshot"
    UNKNOWN = "unknown", "From before codes were kept"


class EndCode(models.TextChoices):
    """Reasons for ending a sandbox."""

    # Its pool's policy.
    IDLE = "idle", "Idle"
    OUTDATED = "outdated", "Outdated"
    RECYCLED = "recycled", "Recycled"
    POOL_SURPLUS = "pool_surplus", "More than its pool may hold"
    FLEET_SURPLUS = "fleet_surplus", "More than the fleet may hold"
    DRAINING = "draining", "Its pool drains"
    POOL_DELETED = "pool_deleted", "Its pool was deleted"
    MADE_ROOM = "made_room", "Made room for a launch"
    # Its use.
    EXPIRED = "expired", "Its lifetime ended"
    RUN_OVER = "run_over", "Its run is over"
    DEAD_AT_HAND_OVER = "dead_at_hand_over", "Dead at hand-over"
    BUILD_DONE = "build_done", "Its snapshot is built"
    # Its health.
    UNWELL = "unwell", "Failed its looks"
    EMPTIED = "emptied", "Its container was restarted"
    LOST = "lost", "Vanished from DigitalOcean"
    NOT_OURS = "not_ours", "Its app turned out to be another's"
    AGENT_REFUSED = "agent_refused", "Its agent refuses our token"
    # Its create came to nothing.
    NAME_TAKEN = "name_taken", "A foreign app has its name"
    TOKEN_REFUSED = "token_refused", "DigitalOcean refuses the token"
    REFUSED = "refused", "DigitalOcean refused it"
    NOT_ACCEPTED = "not_accepted", "DigitalOcean did not accept it in time"
    NEVER_LISTED = "never_listed", "Its name is taken, no listing shows it"
    DEPLOYMENT_FAILED = "deployment_failed", "Its deployment failed"
    TIMED_OUT = "timed_out", "Its deployment took too long"
    AGENT_SILENT = "agent_silent", "Its agent never answered"
    STAGING_FAILED = "staging_failed", "Staging did not finish"
    # An operator's order.
    RETIRED = "retired", "Retired by an operator"
    FORCE_DELETED = "force_deleted", "Force-deleted by an operator"
    SWEPT = "swept", "Swept by an operator"
    UNKNOWN = "unknown", "From before codes were kept"


REPLACED = (EndCode.OUTDATED, EndCode.RECYCLED)  # a fresh one takes its place


class HoldCode(models.TextChoices):
    """Reasons for doing nothing for a pool."""

    NOT_TRUSTED = "not_trusted", "The listing can't be trusted"
    PAUSED = "paused", "Paused"
    IN_DOUBT = "in_doubt", "A create is in doubt"
    BACKING_OFF = "backing_off", "Waits after failures"
    SURPLUS = "surplus", "Too many creates failed within an hour"
    DELETES_FAIL = "deletes_fail", "Nothing can be deleted"
    COOLING_DOWN = "cooling_down", "Cools down after a launch"
    NO_PLACE = "no_place", "No place left"


class StepCode(models.TextChoices):
    """Reasons for one small step with a sandbox or an app."""

    RESERVED = "reserved", "Reserved, not asked for yet"
    UNANSWERED = "unanswered", "Asked for without an answer"
    ANSWER_LOST = "answer_lost", "The answer to its create was lost"
    CREATED_AFTER_ALL = "created_after_all", "Created after all"
    ACTIVE = "active", "Its deployment is active"
    UNTOLD = "untold", "No listing says how its deployment goes"
    NAME_TAKEN = "name_taken", "Its name is taken, no listing shows it"
    NAME_FREE = "name_free", "Its name is free after all"
    STAGING_STUCK = "staging_stuck", "Staging did not come back"
    UNSEEN = "unseen", "Not looked at for a while"
    NOT_LISTED = "not_listed", "Missing from a listing"
    LISTED_AGAIN = "listed_again", "Listed again"
    DUE = "due", "To be deleted"
    STILL_THERE = "still_there", "Not gone after the last try"
    UNLISTED = "unlisted", "Deleted, and gone from the listing"
    NAME_IN_DOUBT = "name_in_doubt", "Only its name tells whether it exists"
    NEVER_ASKED = "never_asked", "The cloud was never asked for it"
    NOT_OURS = "not_ours", "The app of that name is foreign"
    ORPHAN = "orphan", "Our mark, no row"
    GRACE_OVER = "grace_over", "Orphan beyond its grace"
    ORDERED = "ordered", "Ordered by an operator"
    ADOPTED = "adopted", "Adopted by an operator"
    ID_OF_ANOTHER = "id_of_another", "The id in our record is another app's"
    ANOTHER_INSTALLATION = "another_installation", "Our mark, another installation's app"
    KEY_CHANGED = "key_changed", "SECRET_KEY was changed"
    UNKNOWN_RUN = "unknown_run", "Taken by a run that the database does not know"
    TOO_MANY = "too_many", "Too many deletions at once"
    TURN_DIED = "turn_died", "A turn ended in an error"
    MISCOUNTED = "miscounted", "Launches were counted wrongly"
    PROCESS_RESTARTED = "process_restarted", "A process ended and was started again"
    PROCESS_STARTED = "process_started", "A process started"


class TargetCode(models.TextChoices):
    """Reasons for a pool's autopilot to set another target."""

    TARGET_RAISED = "target_raised", "More are needed"
    TARGET_LOWERED = "target_lowered", "Fewer are needed"


Code = CreateCode | EndCode | HoldCode | StepCode | TargetCode


class LogKind(models.TextChoices):
    """Kinds of lines in the orchestrator log."""

    CREATE = "create", "Create"
    ACCEPTED = "accepted", "Accepted"
    READY = "ready", "Ready"
    ACQUIRE = "acquire", "Acquire"
    DELETE = "delete", "Delete"
    DELETED = "deleted", "Deleted"
    HOLD = "hold", "Hold"
    STOP = "stop", "Stop"
    GO = "go", "Go"
    ORPHAN = "orphan", "Orphan"
    TROUBLE = "trouble", "Trouble"
    LISTING = "listing", "Listing"
    STAGE = "stage", "Stage"
    SNAPSHOT = "snapshot", "Snapshot"
    GAME = "game", "Version of a game"
    BULK = "bulk", "Bulk work"
    LAUNCH = "launch", "Launch"
    RUN = "run", "Run"
    POOL = "pool", "Pool"
    TURN = "turn", "Turn"
    LOOK = "look", "Look"
    MAINTENANCE = "maintenance", "Maintenance"
    SWEEP = "sweep", "Sweep"
    END = "end", "End by an operator"
    EXTEND = "extend", "Extension by an operator"
    RESUBMIT = "resubmit", "Task queued again by an operator"
    SIGN_IN = "sign_in", "Sign-in"
    KEY = "key", "API key"
    WEBHOOK = "webhook", "Webhook"
    ALARM = "alarm", "Alarm"
    ALL_CLEAR = "all_clear", "All clear"
    IN_HAND = "in_hand", "Alarm in hand"
    PROCESS = "process", "Process"


PRIVATE = (LogKind.SIGN_IN, LogKind.KEY)  # who signs in, and which keys there are, is for operators alone


class KeyCode(models.TextChoices):
    """What became of an API key."""

    MADE = "key_made", "Made"
    REVOKED = "key_revoked", "Revoked"
    IMPORTED = "imported", "Came with an import"


class Limit(StrEnum):
    """The limit that leaves no place for one more sandbox: a setting, a column of the pool, or a stop, by its name."""

    MAX_TOTAL_SANDBOXES = "MAX_TOTAL_SANDBOXES"
    MONTHLY_BUDGET_USD = "MONTHLY_BUDGET_USD"
    POOL_MODE = "mode"
    MAX_READY = "max_ready"
    MAX_CONCURRENT_CREATES = "max_concurrent_creates"
    BREAKER = "breaker"
    DELETES = "deletes"
