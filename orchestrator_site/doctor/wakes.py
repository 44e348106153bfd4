"""Redis, which wakes who waits."""

from __future__ import annotations

from uuid import uuid4

from django.conf import settings

from orchestrator_site.doctor.checks import Finding, Seen, well
from orchestrator_site.doctor.codes import Code

PATIENCE_SECONDS = 3.0
OLDEST = 5


def redis(_seen: Seen) -> Finding:
    import redis as library

    if not settings.REDIS_URL:
        return well("REDIS_URL is not set: the database wakes who waits")
    client = library.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
    )
    try:
        version = str(client.info("server")["redis_version"])
        if int(version.partition(".")[0]) < OLDEST:
            return Finding(Code.REDIS_OLD, f"it is Redis {version}")
        is_heard = _hears(client)
    except (library.AuthenticationError, library.exceptions.NoPermissionError) as error:
        return Finding(Code.REDIS_REFUSES, f"it refuses us: {error}")
    except (library.RedisError, OSError) as error:
        return Finding(Code.REDIS_UNREACHABLE, f"it can't be reached: {error}")
    finally:
        client.close()
    return well(f"Redis {version}") if is_heard else Finding(Code.REDIS_SILENT, "what is published is not heard")


def _hears(client: object) -> bool:
    """Whether a message of ours comes back."""
    import redis as library

    channel = f"orchestrator:{settings.ORCHESTRATOR_ID}:doctor-{uuid4().hex}"
    with client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[attr-defined]
        try:
            subscription.subscribe(channel)
            subscription.get_message(timeout=PATIENCE_SECONDS)  # that it has subscribed
            client.publish(channel, b"!")  # type: ignore[attr-defined]
            return subscription.get_message(timeout=PATIENCE_SECONDS) is not None
        except library.exceptions.NoPermissionError:
            return False
