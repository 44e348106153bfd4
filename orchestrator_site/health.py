"""Whether the process answers (/health/live; /health, as the first demo has it), whether it takes requests
(/health/serving), and whether the orchestrator can do its work (/health/ready)."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import NamedTuple

import httpx
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.http import HttpRequest, HttpResponse, JsonResponse

from orchestrator_site import identity
from orchestrator_site.models import CLOCK_OFF_SECONDS, Beat, clock_sentence
from orchestrator_site.postgresql.clock import database_clock
from pools import clock, pooling, redis_wakes, stopping
from pools.cloud.connection import local_endpoint, local_token
from pools.fleet_log import turn_death
from pools.key_change import key_trouble
from pools.leases import prove_writable
from pools.models import Fleet

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
VERDICT_KEPT_SECONDS = 1.0
LISTING_FRESH_SECONDS = 180  # a turn is due every minute, and may take its time


class Verdict(NamedTuple):
    """What a check found; `text` says it to people."""

    is_ok: bool
    text: str


OK = Verdict(True, "ok")


def database() -> Verdict:
    """It is written to: one that is read-only, locked or on a full disk still answers."""
    prove_writable()
    return OK


def machine_clock() -> Verdict:
    """A clock that is off is named and no reason to stop: the database's time counts. But certificates and signed
    addresses are made by this one."""
    ahead_seconds = database_clock.machine_ahead_seconds()
    if abs(ahead_seconds) < CLOCK_OFF_SECONDS:
        return OK
    return Verdict(True, f"ok, but this machine's clock is {clock_sentence(ahead_seconds)}")


def cluster() -> Verdict:
    now = clock.now()
    if Beat.objects.fresh(now).filter(stuck="").exists():
        return OK
    last = Beat.objects.order_by("-at").first()
    if last is None:
        return Verdict(False, "no Django-Q cluster has ever given a sign of life")
    return Verdict(False, f"the last sign of life of a Django-Q cluster is {(now - last.at).total_seconds():.0f} s old")


def cloud() -> Verdict:
    """The embedded cloud is asked; of the real one the last listing tells, because every request counts there. What
    turns die of is told of both."""
    fleet = Fleet.get()
    verdict = _embedded_cloud() if settings.CLOUD_IS_EMBEDDED else _listing(fleet)
    if verdict.is_ok and (death := turn_death(fleet)) is not None:
        return Verdict(False, death.message)
    return verdict


def _embedded_cloud() -> Verdict:
    with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:  # no proxy to this machine
        answer = client.get(
            f"{local_endpoint()}/v2/apps?per_page=1", headers={"Authorization": f"Bearer {local_token()}"}
        )
    return OK if answer.status_code == 200 else Verdict(False, f"the local cloud answered {answer.status_code}")


def _listing(fleet: Fleet) -> Verdict:
    if fleet.listing_error:
        return Verdict(False, f"the last listing failed: {fleet.listing_error}")
    if fleet.listed_at is None:
        return Verdict(False, "no listing was taken yet")
    if (age := clock.now() - fleet.listed_at) > timedelta(seconds=LISTING_FRESH_SECONDS):
        return Verdict(False, f"the last complete listing is {age.total_seconds():.0f} s old")
    return OK


def secret_key() -> Verdict:
    """Whether this process opens the sandboxes that are there."""
    trouble = key_trouble()
    return Verdict(False, trouble) if trouble else OK


def wake_ups() -> Verdict:
    """Without them everything comes all the same, up to a second late: named, and no reason to stop."""
    if settings.REDIS_URL:
        return OK if redis_wakes.is_there() else Verdict(True, "ok, but Redis can't be reached: all is a second late")
    if connection.vendor == "postgresql" and _are_sessions_shared():
        return Verdict(True, f"ok, but {pooling.SHARED}")
    return OK


@functools.cache
def _are_sessions_shared() -> bool:
    """For as long as this process lives: a pooler's mode does not change beneath it."""
    return pooling.are_sessions_shared(DEFAULT_DB_ALIAS)


class Check:
    """One question whose answer is kept a moment, and is not asked again while it still hangs."""

    def __init__(self, name: str, ask: Callable[[], Verdict]) -> None:
        self.name = name
        self._ask = ask
        self._lock = threading.Lock()
        self._asked_at_seconds = 0.0
        self._answer: Future[Verdict] | None = None

    def ask(self, pool: ThreadPoolExecutor) -> None:
        with self._lock:
            age = clock.monotonic() - self._asked_at_seconds
            if self._answer is None or (self._answer.done() and age > VERDICT_KEPT_SECONDS):
                self._answer, self._asked_at_seconds = pool.submit(self._answer_now), clock.monotonic()

    def verdict(self) -> Verdict:
        """The answer, or that it is late: PATIENCE_SECONDS after it was asked for, whoever did."""
        with self._lock:
            answer, left = self._answer, self._asked_at_seconds + PATIENCE_SECONDS - clock.monotonic()
        if answer is not None and wait([answer], timeout=max(0.0, left)).done:
            return answer.result()
        return Verdict(False, f"no answer within {PATIENCE_SECONDS:g} s")

    def _answer_now(self) -> Verdict:
        try:
            return self._ask()
        except Exception as error:  # whatever it is, it is the verdict
            logger.warning("The check of the %s failed: %s", self.name, error)
            return Verdict(False, f"{type(error).__name__}; the web server's log says more")  # not to everybody
        finally:
            connections.close_all()


CHECKS = [
    Check("database", database),
    Check("cluster", cluster),
    Check("cloud", cloud),
    Check("clock", machine_clock),
    Check("secret_key", secret_key),
    Check("wake_ups", wake_ups),
]
_pool = ThreadPoolExecutor(max_workers=len(CHECKS), thread_name_prefix="health")


def live(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def healthy(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "healthy", "timestamp": clock.now(), "version": settings.VERSION})


def serving(_request: HttpRequest) -> JsonResponse:
    """For load balancers: whether this process takes requests. What all processes share says nothing here: if it took
    every one of them out, nobody could be told what is wrong."""
    if stopping.is_announced():
        return JsonResponse({"status": "stopping"}, status=503)
    return JsonResponse({"status": "serving"})


def ready(_request: HttpRequest) -> JsonResponse:
    """200 when all is well; else 503, and the check that is not says why. Who stops gets no more requests."""
    if stopping.is_announced():
        return JsonResponse({"status": "stopping", "checks": {}}, status=503)
    for check in CHECKS:
        check.ask(_pool)
    verdicts = {check.name: check.verdict() for check in CHECKS}
    is_ready = all(verdict.is_ok for verdict in verdicts.values())
    answer = {
        "status": "ready" if is_ready else "not ready",
        "checks": {name: verdict.text for name, verdict in verdicts.items()},
    }
    return JsonResponse(answer, status=200 if is_ready else 503)


def installation(request: HttpRequest) -> JsonResponse:
    """For `manage.py doctor`: proves that it is this installation that answers here."""
    return JsonResponse({"proof": identity.proof(request.GET.get("nonce", ""))})


VIEWS = {
    "/health": healthy,
    "/health/live": live,
    "/health/serving": serving,
    "/health/ready": ready,
    identity.PATH: installation,
}


class HealthMiddleware:
    """Answers probes before anything else looks at the request: a platform asks by address, not by an allowed name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = VIEWS.get(request.path)
        return view(request) if view else self.get_response(request)
