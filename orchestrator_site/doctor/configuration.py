"""Settings that can each be read, and can't all be meant; and the secret key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks.security.base import (
    SECRET_KEY_INSECURE_PREFIX,
    SECRET_KEY_MIN_LENGTH,
    SECRET_KEY_MIN_UNIQUE_CHARACTERS,
)

from orchestrator_site.doctor.checks import Finding, Seen, well
from orchestrator_site.doctor.codes import Code
from pools import agent_keys
from pools.cloud.api_transport import is_loopback
from pools.key_change import key_trouble
from pools.models import Mode, Pool
from pools.prices import USD_PER_MONTH

# The first can never be met, because the second is met before.
NEVER_ABOVE = (
    ("MAX_ACTIVE_PER_CLIENT", "MAX_TOTAL_ACTIVE"),
    ("MAX_ACTIVE_PER_NETWORK", "MAX_TOTAL_ACTIVE"),
    ("MAX_RUNS_PER_HOUR_PER_CLIENT", "MAX_RUNS_PER_HOUR"),
    ("MAX_RUNS_PER_HOUR_PER_NETWORK", "MAX_RUNS_PER_HOUR"),
    ("WARM_POOL_TARGET_READY", "MAX_TOTAL_SANDBOXES"),
)


def limits(seen: Seen) -> Finding:
    values = {name: getattr(settings, name) for pair in NEVER_ABOVE for name in pair}
    pools = list(Pool.objects.filter(mode=Mode.ACTIVE)) if seen.is_well("migrations") else []
    floors = {pool.name: pool.min_ready for pool in pools}
    month_usd = float(sum(pool.min_ready * USD_PER_MONTH.get(pool.size, 0) for pool in pools))
    told = [*contradictions(values, floors), *over_budget(month_usd, settings.MONTHLY_BUDGET_USD)]
    return Finding(Code.LIMITS_CONTRADICT, "; ".join(told)) if told else well("they can all be met")


def contradictions(values: Mapping[str, int], floors: Mapping[str, int]) -> Iterator[str]:
    """Sentences about limits of which one leaves the other no room. `floors`: what each pool always keeps ready."""
    for name, above in NEVER_ABOVE:
        if 0 < values[above] < values[name]:  # 0 refuses everything, which is meant
            yield f"{name} is {values[name]}, above {above} ({values[above]})"
    places = values["MAX_TOTAL_SANDBOXES"]
    if sum(floors.values()) > places:
        kept = " and ".join(f"{floor} of pool {name}" for name, floor in floors.items() if floor)
        yield f"{kept} are always to be ready, above MAX_TOTAL_SANDBOXES ({places})"


def over_budget(month_usd: float, budget_usd: float) -> Iterator[str]:
    if 0 < budget_usd < month_usd:
        yield f"what pools always keep ready costs ${month_usd:.0f} a month, above MONTHLY_BUDGET_USD ({budget_usd:g})"


def https(_seen: Seen) -> Finding:
    is_https = settings.PUBLIC_URL.startswith("https://")
    if is_https and not settings.TRUSTED_PROXIES:
        found = (
            "PUBLIC_URL begins with https://, no proxy is trusted, and the web server speaks plain http: every request"
        )
        return Finding(Code.HTTPS_WITHOUT_PROXY, f"{found} is sent back to https:// without an end")
    is_far = not settings.CLOUD_IS_EMBEDDED and not is_loopback(settings.DIGITALOCEAN_API_URL)
    if is_far and is_loopback(settings.PUBLIC_URL):
        found = f"PUBLIC_URL is {settings.PUBLIC_URL}, which leads sandboxes at DigitalOcean to themselves"
        return Finding(Code.PUBLIC_URL_LOCAL, found)
    return well(settings.PUBLIC_URL)


def hosts(_seen: Seen) -> Finding:
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    if settings.DEBUG and not is_loopback(settings.PUBLIC_URL):
        return Finding(Code.DEBUG_IS_PUBLIC, f"DEBUG is on, and {host} is no name of this machine alone")
    if "*" in settings.ALLOWED_HOSTS:
        return Finding(Code.HOSTS_OPEN, "ALLOWED_HOSTS is *: the site answers to whatever name a request gives")
    return well(", ".join(settings.ALLOWED_HOSTS))


def secret_key(_seen: Seen) -> Finding:
    """Its strength, by Django's own measure."""
    if why := weakness(settings.SECRET_KEY):
        return Finding(Code.SECRET_KEY_WEAK, f"SECRET_KEY {why}")
    return well(f"fingerprint {agent_keys.current()}, former keys at hand: {len(settings.SECRET_KEY_FALLBACKS)}")


def weakness(key: str) -> str:
    """What is wrong with a key, as the end of a sentence; empty when nothing is."""
    if key.startswith(SECRET_KEY_INSECURE_PREFIX):
        return f"begins with {SECRET_KEY_INSECURE_PREFIX}, as examples do"
    if len(key) < SECRET_KEY_MIN_LENGTH:
        return f"has {len(key)} characters; it should have {SECRET_KEY_MIN_LENGTH}"
    if len(set(key)) < SECRET_KEY_MIN_UNIQUE_CHARACTERS:
        return "repeats the same few characters"
    return ""


def key_of_database(_seen: Seen) -> Finding:
    """Whether the key is the one that the database and its sandboxes know."""
    if trouble := key_trouble():
        return Finding(Code.SECRET_KEY_CHANGED, trouble)
    return well(f"fingerprint {agent_keys.current()}")
