"""The first pool, from the settings. After that, what an operator sets in the admin wins."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Q

from pools.models import Pool, Runtime

NAME = "python"


def first_pool() -> Pool | None:
    """Create the Python pool from the WARM_POOL_* settings; None when there is one, or none is wanted."""
    if not settings.WARM_POOL_ENABLED or Pool.objects.filter(Q(name=NAME) | Q(runtime=Runtime.PYTHON)).exists():
        return None
    return Pool.objects.create(
        name=NAME,
        runtime=Runtime.PYTHON,
        image=settings.SANDBOX_IMAGES[Runtime.PYTHON],
        region=settings.SANDBOX_REGION,
        size=settings.SANDBOX_SIZE,
        target_ready=settings.WARM_POOL_TARGET_READY,
        max_ready=settings.WARM_POOL_MAX_READY,
        max_concurrent_creates=settings.WARM_POOL_MAX_CONCURRENT_CREATES,
        idle_timeout_seconds=settings.WARM_POOL_IDLE_TIMEOUT,
    )
