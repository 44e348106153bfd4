"""The waits before a decision: each number with what it allows for."""

RESEND_SECONDS = 15  # a create or delete whose effect is not seen is sent again; names are unique, so it can't double
SETTLE_SECONDS = 30  # how long a create may take to show in a listing before its absence means it never happened
ACCEPT_SECONDS = 30  # a player does not wait longer for the cloud to take the request
ASK_SECONDS = 10  # between two questions about one sandbox being created that no listing tells about
STAGING_SECONDS = 360  # of all attempts together
STAGE_AGAIN_SECONDS = 20  # after it was asked for, when nobody is at it: the task waits, or its worker died
CREATE_TIMEOUT_SECONDS = 600  # of a sandbox without a pool, whose own setting it is
MISSING_SECONDS = 5  # absent from two listings that far apart: ask for the app itself
VERIFY_AGAIN_SECONDS = 120  # after the app itself answered though no listing shows it: a listing may lag for a day
VERIFY_EMPTY_SECONDS = 30  # an empty listing is trusted less
LOOK_SECONDS = 30  # between two health looks at an idle sandbox
LOOK_IN_USE_SECONDS = 20  # and at one that is played: whoever dies is noticed, and gone, within a minute
LOOK_AGAIN_SECONDS = 3  # after a look that failed
LOOKS_A_TURN = 400
SILENT_TOGETHER = 3  # so many at least, and most of all: then none is given up for its silence
LOSE_SECONDS = 25  # that long at least a played one is silent: a container that restarts is back by then
REFUSALS_TO_FAIL = 5  # machines may get a new key one after the other
