"""How little patience `impatient` has: apart from it, because to import that is to become so."""

HEARTBEAT_SECONDS = 0.3
STALL_SECONDS = 1.0
GAME_SECONDS = 1.5  # a game has to answer
HEAD_SECONDS = BODY_SECONDS = 1.5  # a request has to come
KEEP_ALIVE_SECONDS = 4  # more than all of these
