"""The processes of an orchestrator: how each is started, and how to ask whether it does its work."""

from __future__ import annotations

import logging
import sys

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, connections, transaction

from orchestrator_site import places
from orchestrator_site.healthcheck import gives_200, host, reached
from orchestrator_site.models import FRESH_SECONDS, Beat
from orchestrator_site.processes.supervisor import Service, Supervisor
from pools import clock, journal
from pools.cloud.connection import local_endpoint, local_token
from pools.leases import prove_writable
from pools.localcloud.tokens import write_token
from pools.models import Fleet, Level
from pools.nudge import nudge
from pools.reasons import LogKind, StepCode
from pools.this_machine import this_host

logger = logging.getLogger(__name__)

NAMES = {"web": "the web server", "cluster": "the cluster", "cloud": "the local cloud"}
WATCH_SECONDS = 5.0
SILENT_LOOKS = 4  # in a row, so that a laptop that slept is not taken for a dead cluster


def address() -> str:
    """Return the address at which a browser on this machine finds the site."""
    return f"http://[{host()}]:{settings.PORT}/" if ":" in host() else f"http://{host()}:{settings.PORT}/"


def web() -> Service:
    return Service(
        name="web",
        command=web_command(),
        answers=lambda: gives_200(host(), settings.PORT, "/health/live"),
        settings={"DRAIN_SECONDS": "0"},  # there is no other one here
    )


def web_command() -> list[str]:
    return [
        *(sys.executable, "-m", "orchestrator_site.web_server", "-b", settings.BIND, "-p", str(settings.PORT)),
        *("-v", "1" if settings.LOG_LEVEL == "DEBUG" else "0", "--no-server-name"),
        *(["-e", _endpoint(settings.PLAY_PORT)] if settings.PLAY_PORT else []),
        "orchestrator_site.asgi:application",
    ]


def _endpoint(port: int) -> str:
    """Another port to listen on, in Twisted's words."""
    bind = settings.BIND.replace(":", "\\:")
    return f"tcp6:port={port}:interface={bind}" if ":" in bind else f"tcp:port={port}:interface={bind}"


def metrics() -> Service:
    return Service(
        name="metrics",
        command=[*places.MANAGE, "metrics"],
        answers=lambda: gives_200(reached(settings.METRICS_BIND), settings.METRICS_PORT, "/"),
    )


def cluster() -> Service:
    service = Service(
        name="cluster",
        command=[*places.MANAGE, "qcluster"],
        answers=lambda: beats(service.pid),
        before_start=give_back_tasks_and_nudge,
    )
    return service


def note_start() -> None:
    """Before the embedded cloud starts: its sandboxes start anew, so what was seen of them before is gone. A new
    database has seen nothing."""
    try:
        if Fleet._meta.db_table not in connection.introspection.table_names():
            return
        with transaction.atomic():
            Fleet.note_start(clock.now())
            nudge()
    except DatabaseError as error:
        logger.warning("That it starts could not be noted: %s", error)
    finally:
        connections.close_all()


def note_restart(name: str, why: str) -> None:
    """To the orchestrator log. Which machine it was is for operators: everybody may read the line."""
    host = {"host": this_host(), "version": settings.VERSION}
    try:
        message = f"{NAMES.get(name, name)} was started again: {why}"
        code = StepCode.PROCESS_RESTARTED
        journal.record(LogKind.TROUBLE, message, code=code, level=Level.WARNING, data={"process": name, **host})
    except DatabaseError as error:
        logger.warning("That %s was started again could not be noted: %s", name, error)
    finally:
        connections.close_all()


def local_cloud() -> Service:
    write_token(settings.LOCALCLOUD_DIR, local_token())
    return Service(
        name="cloud",
        command=[
            *(sys.executable, "-m", "pools.localcloud", "--dir", str(settings.LOCALCLOUD_DIR)),
            *("--port", str(settings.LOCALCLOUD_PORT)),  # 0: as last time, or a free one
            *("--deploy-seconds", str(settings.LOCALCLOUD_DEPLOY_SECONDS)),
        ],
        answers=local_cloud_answers,
        before_start=note_start,
        stop_order=1,  # after those who talk to it
    )


def local_cloud_answers() -> bool:
    host, _, port = local_endpoint().removeprefix("http://").rpartition(":")
    return gives_200(host, int(port), "/v2/apps?per_page=1", Authorization=f"Bearer {local_token()}")


def beats(pid: int) -> bool:
    """Whether the cluster that this process leads gave a sign of life lately."""
    try:
        return Beat.objects.fresh(clock.now()).filter(host=this_host(), pid=pid, stuck="").exists()
    except DatabaseError:
        return False
    finally:
        connections.close_all()


def give_back_tasks_and_nudge() -> None:
    """Before a cluster starts: what its predecessor took and did not finish is due again, and a turn is."""
    from django_q.models import OrmQ

    try:
        with transaction.atomic():
            if settings.DATABASE_IS_SQLITE:  # then no other cluster works on this database
                OrmQ.objects.filter(lock__gt=clock.now()).update(lock=clock.now())
            Fleet.note_start(clock.now())
            nudge()
    except DatabaseError as error:
        logger.warning("The cluster starts with an unprepared queue: %s", error)
    finally:
        connections.close_all()


def watch_clusters(supervisor: Supervisor) -> None:
    """Have a cluster restarted that lives and gives no sign of life. Ends with the supervisor."""
    service = next(service for service in supervisor.services if service.name == "cluster")
    silent = 0
    while not supervisor.stopping.wait(WATCH_SECONDS):
        is_new = clock.monotonic() - service.started_at_seconds < FRESH_SECONDS
        silent = 0 if is_new or service.process is None or not is_silent(service.pid) else silent + 1
        if silent >= SILENT_LOOKS:
            service.must_restart, silent = "it has given no sign of life", 0


def is_silent(pid: int) -> bool:
    """Whether the database can be written to and holds no recent beat of that cluster."""
    close_old_connections()
    try:
        prove_writable()
        return not Beat.objects.fresh(clock.now()).filter(host=this_host(), pid=pid).exists()
    except DatabaseError:
        return False
    finally:
        connections.close_all()
