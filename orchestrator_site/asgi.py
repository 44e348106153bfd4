"""The ASGI application: Django, and beside it the consumers of streams, sockets and games."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
django.setup(set_prefix=False)

from orchestrator_site.bodies import LimitedBodies  # noqa: E402  the apps must be loaded
from orchestrator_site.cross_origin import CrossOrigin  # noqa: E402
from orchestrator_site.forwarded import BehindProxies  # noqa: E402
from orchestrator_site.request_ids import WithRequestId  # noqa: E402
from orchestrator_site.request_threads import InOneThread  # noqa: E402
from orchestrator_site.unavailable import OrUnavailable  # noqa: E402
from pools import meters, traces  # noqa: E402
from runs.live.origin_validator import OwnPagesOriginValidator  # noqa: E402
from runs.routing import http_urlpatterns, waiting_urlpatterns, websocket_urlpatterns  # noqa: E402

django_application: Any = InOneThread()
http_routes: list[Any] = [*http_urlpatterns, *waiting_urlpatterns(django_application), re_path(r"", django_application)]

# No session is loaded here: who knows a run's id may read along, and everybody may read the fleet's log.
application: Any = WithRequestId(
    BehindProxies(
        CrossOrigin(
            LimitedBodies(
                OrUnavailable(
                    ProtocolTypeRouter(
                        {
                            "http": URLRouter(http_routes),
                            "websocket": OwnPagesOriginValidator(URLRouter(websocket_urlpatterns)),
                        }
                    )
                )
            )
        )
    )
)

if "daphne.server" in sys.modules:  # it is Daphne that loads this
    from orchestrator_site import daphne_http

    daphne_http.install()
else:
    from orchestrator_site import uvicorn_stop

    application = uvicorn_stop.stopping_politely(application)

traces.begin()
meters.begin()

# What is loaded by now stays: to look through it for garbage again and again would hold up everybody for half a second.
gc.collect()
gc.freeze()
