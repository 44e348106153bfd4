"""Who reaches whom: browsers and sandboxes this site, and this site those that it tells."""

from __future__ import annotations

import secrets
import shlex
import smtplib
import ssl
import threading
from collections.abc import Callable, Sequence
from functools import partial

import httpcore
import httpx
from django.conf import settings

from orchestrator_site.doctor.checks import Finding, Seen, skipped, well
from orchestrator_site.doctor.codes import Code
from orchestrator_site.healthcheck import reached
from orchestrator_site.identity import PATH, proof
from pools.cloud import bounded
from pools.cloud.api_transport import is_loopback
from pools.cloud.errors import AgentError
from pools.models import Sandbox, State
from pools.webhooks import Webhook
from runs.webhooks.targets import DEFAULT_PORTS, Outward

PATIENCE_SECONDS = 4.0
ANSWER_BYTES = 4096
MOST_WEBHOOKS = 10
OUR_FIGURES = b"arcade_"
FETCH = "import sys,urllib.request as u;print(u.urlopen(sys.argv[1],timeout=4).read(4096).decode())"


def public_address(_seen: Seen) -> Finding:
    return _answers(settings.PUBLIC_URL)


def play_address(_seen: Seen) -> Finding:
    if "*" in settings.PLAY_URL:
        return well(f"{settings.PLAY_URL}: each game has a name of its own")
    return _answers(settings.PLAY_URL)


def _answers(address: str) -> Finding:
    """Whether this installation answers there."""
    nonce = secrets.token_hex(16)
    try:
        with (
            httpx.Client(trust_env=not is_loopback(address), timeout=bounded.timeout(PATIENCE_SECONDS)) as client,
            client.stream("GET", address + PATH, params={"nonce": nonce}) as response,
        ):
            body = bounded.beginning(response, ANSWER_BYTES)
    except httpx.HTTPError as error:
        if is_of_certificate(error):
            return Finding(Code.ADDRESS_CERTIFICATE, f"{address}: {error}")
        return Finding(Code.ADDRESS_UNREACHABLE, f"{address} does not answer ({type(error).__name__}: {error})")
    return answered(address, response.status_code, body, proof(nonce))


def answered(address: str, status: int, body: bytes, wanted: str) -> Finding:
    """`wanted`: the proof that this installation gives."""
    if status >= 500:
        return Finding(Code.ADDRESS_UNREACHABLE, f"{address} answers {status}")
    if wanted.encode() not in body:
        found = f"{address} answers {status}, but not as this installation: another one, or one with another SECRET_KEY"
        return Finding(Code.ADDRESS_ANOTHERS, found)
    return well(f"this installation answers at {address}")


def is_of_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def from_sandbox(_seen: Seen) -> Finding:
    """Whether a ready sandbox reaches PUBLIC_URL."""
    sandbox = Sandbox.objects.filter(state=State.READY).exclude(url="").order_by("-ready_at").first()
    if sandbox is None:
        return skipped("no sandbox is ready")
    nonce = secrets.token_hex(16)
    command = f"python3 -c {shlex.quote(FETCH)} {shlex.quote(f'{settings.PUBLIC_URL}{PATH}?nonce={nonce}')}"
    try:
        result = sandbox.agent().run(command, cwd="/tmp", timeout_seconds=5)  # noqa: S108  in the sandbox
    except AgentError as error:
        return Finding(Code.SANDBOX_CUT_OFF, f"{sandbox.name} could not be asked: {error}")
    return fetched(sandbox.name, result.stdout, result.stderr, proof(nonce))


def fetched(name: str, stdout: str, stderr: str, wanted: str) -> Finding:
    if wanted in stdout:
        return well(f"{name} reaches {settings.PUBLIC_URL}")
    why = (stderr.strip() or "something else answered").splitlines()[-1]
    return Finding(Code.SANDBOX_CUT_OFF, f"{name} does not reach {settings.PUBLIC_URL} ({why})")


def metrics(_seen: Seen) -> Finding:
    if not settings.METRICS_PORT:
        return well("METRICS_PORT is 0: nothing is counted")
    host = reached(settings.METRICS_BIND)
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.METRICS_PORT}/metrics"
    try:
        with httpx.Client(trust_env=False, timeout=bounded.timeout(PATIENCE_SECONDS)) as client:
            body = client.get(address).content
    except httpx.HTTPError as error:
        return Finding(Code.METRICS_SILENT, f"{address} does not answer ({type(error).__name__})")
    if OUR_FIGURES not in body:
        return Finding(Code.METRICS_SILENT, f"what answers at {address} is something else")
    return well(address)


def webhooks(_seen: Seen) -> Finding:
    """Whether their addresses take connections: nothing is sent."""
    hooks = list(Webhook.objects.filter(is_enabled=True)[:MOST_WEBHOOKS])
    if not hooks:
        return well("there are none")
    troubles = _at_once([partial(_trouble_with, hook.short_id, hook.url) for hook in hooks])
    if told := [trouble for trouble in troubles if trouble]:
        return Finding(Code.WEBHOOK_UNREACHABLE, "; ".join(told))
    return well(f"all that were asked take connections: {len(hooks)}")


def _trouble_with(name: str, url: str) -> str:
    target = httpx.URL(url)
    host, port = target.raw_host.decode(), target.port or DEFAULT_PORTS[target.scheme]
    try:
        stream = Outward().connect_tcp(host, port, PATIENCE_SECONDS)
        try:
            if target.scheme == "https":
                stream = stream.start_tls(httpx.create_ssl_context(), host, PATIENCE_SECONDS)
        finally:
            stream.close()
    except (httpcore.NetworkError, httpcore.TimeoutException, OSError) as error:
        return f"{name} at {host} can't be reached ({type(error).__name__}: {error})"
    return ""


def _at_once(calls: Sequence[Callable[[], str]]) -> list[str]:
    """What each says, in no order."""
    said: list[str] = []
    threads = [threading.Thread(target=lambda call=call: said.append(call()), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def mail(_seen: Seen) -> Finding:
    """Whether the mail server greets us; nothing is sent."""
    if not settings.ALERT_EMAILS:
        return well("ALERT_EMAILS is empty: nobody is written to")
    place = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        with smtplib.SMTP(settings.EMAIL_HOST, settings.EMAIL_PORT, timeout=PATIENCE_SECONDS) as server:
            server.noop()
    except (OSError, smtplib.SMTPException) as error:
        return Finding(Code.MAIL_UNREACHABLE, f"{place} does not answer ({error})")
    return well(place)
