"""A worker that writes events of runs at a steady pace; the message is the moment it was committed from, in ns."""

import sys
import time
from uuid import UUID

import django

django.setup()

from runs import events  # noqa: E402  the apps must be loaded
from runs.models import EventKind  # noqa: E402

seconds, rounds, *run_ids = sys.argv[1:]
runs = [UUID(run_id) for run_id in run_ids]
gap = float(seconds) / len(runs)
due = time.monotonic()
for _ in range(int(rounds)):
    for run_id in runs:
        time.sleep(max(0.0, due - time.monotonic()))
        due += gap
        events.emit(run_id, EventKind.LOG, str(time.monotonic_ns()))
print(f"{time.monotonic() - due:.3f}")
