"""The product's settings for the simulation: one database in memory, nothing on a disk, nothing logged."""

import os
import tempfile
from pathlib import Path

for name in list(os.environ):
    if name.startswith(("DIGITALOCEAN_", "SPACES_", "OTEL_", "WARM_POOL_", "MAX_", "SANDBOX_")) or name in (
        "DATABASE_URL",
        "REDIS_URL",
    ):
        del os.environ[name]
os.environ["ORCHESTRATOR_VAR"] = tempfile.mkdtemp(
    prefix="simulation-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
)
os.environ["DIGITALOCEAN_TOKEN"] = "simulated"
os.environ["SECRET_KEY"] = "the simulation's"
os.environ["MAX_TOTAL_SANDBOXES"] = "16"
os.environ["MAX_TOTAL_ACTIVE"] = "14"
os.environ["MAX_CONCURRENT_WARM"] = "12"
os.environ["MAX_CONCURRENT_COLD"] = "6"
os.environ["MAX_RUNS_PER_HOUR"] = "120"
os.environ["MAX_ACTIVE_PER_CLIENT"] = "3"
os.environ["ORCHESTRATOR_ID"] = "simulated"

from orchestrator_site.settings import *  # noqa: E402, F403  the environment above comes first

DATABASES = {"default": {"ENGINE": "tests.sim.database", "NAME": ":memory:"}}
LOGGING_CONFIG = None
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
