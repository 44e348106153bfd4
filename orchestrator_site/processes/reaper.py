"""`python -m orchestrator_site.processes.reaper GRACE_SECONDS`: ends the sessions that a dead supervisor left over.

Its standard input is a pipe from the supervisor: each line is the JSON of the sessions that run now. The end of the
input means that the supervisor is gone, however it died. On Linux the services have had a SIGTERM from the kernel
by then (`leash.py`); this one asks them again, stays until they are gone, and kills those that do not go.
"""

from __future__ import annotations

import sys

from orchestrator_site.processes import process_sessions

if __name__ == "__main__":
    line = "{}"
    for line in sys.stdin:  # noqa: B007  the last one counts
        pass
    process_sessions.end(process_sessions.left_over(line), float(sys.argv[1]))
