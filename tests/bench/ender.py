"""Makes runs and prints their ids; told to, it ends some of them, one at a time, and prints when each was over."""

import sys
import time

import django

django.setup()

from django.utils import timezone  # noqa: E402  the apps must be loaded

from runs import lifecycle  # noqa: E402
from runs.reasons import RunEndCode  # noqa: E402
from tests.fixtures.web import new_run  # noqa: E402

made, ended, every_seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
runs = [new_run() for _ in range(made)]
print(*(run.pk for run in runs), flush=True)
sys.stdin.readline()
for run in runs[:ended]:
    lifecycle.end(run.pk, RunEndCode.ENDED_BY_API, "Measured.", timezone.now())
    print(run.pk, time.monotonic_ns(), flush=True)
    time.sleep(every_seconds)
