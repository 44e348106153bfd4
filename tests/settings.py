"""The product's settings for in-process tests, over a folder of this test process's own.

Nothing a test does reaches var/, another pytest worker, or an account: variables that name one are taken out
here, before the settings are read. Processes that a test starts inherit the folder and so the test's database.
"""

import os
import tempfile
from pathlib import Path

for name in [
    "DIGITALOCEAN_TOKEN",
    "DATABASE_URL",
    "REDIS_URL",
    *(name for name in os.environ if name.startswith("SPACES_")),
]:
    os.environ.pop(name, None)

# pytest-xdist's workers inherit the root from the process that starts them; conftest removes it there.
if "ORCHESTRATOR_TEST_ROOT" not in os.environ:
    os.environ["ORCHESTRATOR_TEST_ROOT"] = tempfile.mkdtemp(prefix="orchestrator-tests-")
os.environ["ORCHESTRATOR_VAR"] = str(
    Path(os.environ["ORCHESTRATOR_TEST_ROOT"]) / os.environ.get("PYTEST_XDIST_WORKER", "main")
)

# Tests launch as one client what many do. Those of the limits of one set their own.
for name in (
    "MAX_ACTIVE_PER_CLIENT",
    "MAX_RUNS_PER_HOUR_PER_CLIENT",
    "MAX_ACTIVE_PER_NETWORK",
    "MAX_RUNS_PER_HOUR_PER_NETWORK",
):
    os.environ.setdefault(name, "100000")

from orchestrator_site.settings import *  # noqa: E402, F403  the environment above comes first
from orchestrator_site.settings import DATABASES  # noqa: E402

# A file, and the one that other processes open under this ORCHESTRATOR_VAR: memory is for one process.
DATABASES["default"]["TEST"] = {"NAME": str(DATABASES["default"]["NAME"])}
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
