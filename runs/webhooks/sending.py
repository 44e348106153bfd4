"""One delivery over HTTP: signed, within a total time, to a public address. Of the answer only the status counts."""

from __future__ import annotations

import functools
import json
import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
from django.conf import settings

from pools.cloud import bounded
from pools.traces import span
from pools.webhooks import Delivery
from runs.webhooks import signing
from runs.webhooks.retries import Answer
from runs.webhooks.targets import Outward

logger = logging.getLogger(__name__)

TOTAL_SECONDS = 10.0
ANSWER_BYTES = 4 * 1024
ERROR_CHARACTERS = 200


@functools.cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # takes 20 ms


def new_client() -> httpx.Client:
    """A client for many deliveries, also by several threads at once. Close it."""
    transport = httpx.HTTPTransport(verify=_certificates(), limits=httpx.Limits(keepalive_expiry=5))
    transport._pool._network_backend = Outward()  # httpx has no public way to it
    # Without trust_env: a proxy would resolve the name once more, and lead where we would not.
    client = httpx.Client(transport=transport, trust_env=False, follow_redirects=False)
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def body_of(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def send(client: httpx.Client, delivery: Delivery, now: datetime) -> Answer:
    """Send it to its webhook, as that is in hand. Whatever happens is an answer."""
    with span("deliver webhook", webhook=delivery.webhook.pk, delivery=delivery.id) as traced:
        answer = _send(client, delivery, now)
        traced.note(status=answer.status)
        if not answer.is_taken:
            traced.fail(answer.error)
        return answer


def _send(client: httpx.Client, delivery: Delivery, now: datetime) -> Answer:
    webhook, body = delivery.webhook, body_of(delivery.payload)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"sandbox-orchestrator/{settings.API_VERSION}",
        "Accept-Encoding": "identity",
        **signing.headers(webhook.secrets(now), delivery.id, int(now.timestamp()), body),
    }
    try:
        with (
            client.stream(
                "POST", webhook.url, content=body, headers=headers, timeout=bounded.timeout(TOTAL_SECONDS)
            ) as response,
            suppress(httpx.HTTPError),
        ):  # the status said all there is to say
            bounded.beginning(response, ANSWER_BYTES)
    except httpx.TimeoutException:
        return Answer(None, f"It did not answer within {TOTAL_SECONDS:g} s.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = " ".join(f"{error}".split()) or type(error).__name__
        return Answer(None, f"It could not be asked: {said}"[:ERROR_CHARACTERS])
    except Exception as error:  # an attempt that failed, too: else the next ones would fail without an end
        logger.exception("The delivery %s can't be sent.", delivery.id)
        return Answer(None, f"It could not be asked: {type(error).__name__}")
    return Answer(response.status_code, _error_of(response), response.headers.get("Retry-After", ""))


def _error_of(response: httpx.Response) -> str:
    if response.is_success:
        return ""
    if response.is_redirect:
        return f"It answered {response.status_code}, a redirect: these are not followed. Set the address it leads to."
    return f"It answered {response.status_code}."
