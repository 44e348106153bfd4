"""Machine codes: why a run is over, why it was not served as asked, why a launch was refused, what a status line says.

Each stands beside a sentence for people. Programs, filters and the code itself go by the codes; sentences may be
reworded at any time. A code that was given out once keeps its meaning.
"""

from __future__ import annotations

from django.db.models import TextChoices


class RunEndCode(TextChoices):
    """Reasons for a run's end: `Run.end_code`."""

    # Ended.
    ENDED_BY_PLAYER = "ended_by_player", "Ended by the player"
    ENDED_BY_API = "ended_by_api", "Ended through the API"
    ENDED_BY_OPERATOR = "ended_by_operator", "Ended by an operator"
    TIME_UP = "time_up", "Time up"
    # Failed before it ran.
    NO_PLACE = "no_place", "No place for a sandbox"
    POOL_GAVE_UP = "pool_gave_up", "The pool's sandbox did not come"
    SANDBOX_FAILED = "sandbox_failed", "The sandbox could not be created"
    DEPLOY_FAILED = "deploy_failed", "The deployment failed"
    PORT_TAKEN = "port_taken", "The game's port is taken"
    ANSWERS_PACKED = "answers_packed", "The game packs its answers, which no sandbox passes on"
    FIXED_PORT = "fixed_port", "The game does not listen on the port it is given"
    TOOL_MISSING = "tool_missing", "The game needs a tool that sandboxes do not have"
    DEPLOY_INTERRUPTED = "deploy_interrupted", "The deployment was interrupted too often"
    START_TIMEOUT = "start_timeout", "Not started in time"
    INTERNAL_ERROR = "internal_error", "An error of the orchestrator"
    # Failed while it was played.
    GAME_STOPPED = "game_stopped", "The game stopped"
    # Failed at any time.
    SANDBOX_LOST = "sandbox_lost", "The sandbox is gone"
    # Of rows that are older than the codes.
    UNKNOWN = "unknown", "Unknown"


class RunNoticeCode(TextChoices):
    """Reasons for a cold start instead of a warm one: `Run.notice_code`."""

    NO_POOL = "no_pool", "No pool of the runtime"
    NONE_READY = "none_ready", "None was ready"
    NONE_COMING = "none_coming", "None was on its way any more"
    NONE_ALIVE = "none_alive", "The one that was ready was dead"
    TOO_SLOW = "too_slow", "The one on its way took too long"
    UNKNOWN = "unknown", "Unknown"


NOTICES = {
    RunNoticeCode.NO_POOL: "There is no warm pool for {runtime}",
    RunNoticeCode.NONE_READY: "No warm sandbox was ready",
    RunNoticeCode.NONE_COMING: "No warm sandbox is on its way any more",
    RunNoticeCode.NONE_ALIVE: "No other warm sandbox was ready",
    RunNoticeCode.TOO_SLOW: "The warm sandbox on its way took much longer than usual",
}


class RefusalCode(TextChoices):
    """Reasons for refusing a launch: `code` of the API's problem."""

    UNKNOWN_GAME = "unknown_game", "No such game"
    KEY_REUSED = "key_reused", "The idempotency key was used for another launch"
    MAINTENANCE = "maintenance", "Maintenance"
    POOL_EMPTY = "pool_empty", "No warm sandbox is ready, and none is started cold"
    NO_POOL = "no_pool", "No pool serves it, and it was to start no other way"
    LIMIT_REACHED = "limit_reached", "A limit is reached"
    KEY_NEEDED = "key_needed", "Launching takes a key, or an account"


class StatusCode(TextChoices):
    """The statuses that a run's log tells: `code` in the data of a `status` line."""

    ACQUIRING = "acquiring", "Asks the warm pool"
    POOL_HIT = "pool_hit", "Has a warm sandbox"
    POOL_MISS = "pool_miss", "Waits for a warm sandbox"
    COLD_START = "cold_start", "Starts cold instead"
    WAITING_FOR_PLACE = "waiting_for_place", "Waits for a place in the fleet"
    CREATING = "creating", "Its own sandbox is being created"
    SANDBOX_UP = "sandbox_up", "Its own sandbox is up"
    EXTENDED = "extended", "Has more time"
    GAME_STOPPED = "game_stopped", "Its game stopped, and is being started again"
    GAME_BACK = "game_back", "Its game is back"


class AttemptCode(TextChoices):
    """What became of an attempt to bring a game up: `code` in the data of a `log` line."""

    PASSED_ON = "passed_on", "Its worker stopped, and handed it on"


class WaitingCode(TextChoices):
    """What a launch that is not running yet waits for: `code` of its `waiting_for`."""

    POOL = "pool", "A warm sandbox of its pool"
    PLACE = "place", "A place in the fleet"
    SANDBOX = "sandbox", "Its own sandbox, which is being created"
    DEPLOYMENT = "deployment", "Its game, which is being brought up"


class LineCode(TextChoices):
    """What a line of the orchestrator log about a run tells, beside its end (RunEndCode) and statuses (StatusCode)."""

    RUNNING = "running", "Its game is ready"
    RESTARTING = "restarting", "Its game stopped, and is being started again"
    ENDING_SOON = "ending_soon", "Its time is nearly up"
    TOO_LATE = "too_late", "An attempt that came too late"
