"""`python leash.py PID COMMAND…`: become COMMAND, and receive SIGTERM when the parent PID dies, however it dies.

A file to run, not to import: between fork and exec of a process with threads, Python code is not safe.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("The parent died before its child began.")
    os.execvp(command[0], command)  # noqa: S606  the supervisor's own command line
