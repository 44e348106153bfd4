"""The site's tasks in Django-Q."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_q.models import Failure

from orchestrator_site.models import Beat
from pools.models import FleetEvent, Lease
from runs.models import RunEvent


def prune() -> None:
    """Delete what nobody will read again, so that the database does not grow for ever."""
    now = timezone.now()
    too_old = now - timedelta(days=settings.EVENTS_KEPT_DAYS)
    FleetEvent.objects.filter(at__lt=too_old).delete()
    RunEvent.objects.filter(run__ended_at__lt=too_old).delete()
    Failure.objects.filter(stopped__lt=too_old).delete()
    Beat.objects.filter(at__lt=now - timedelta(days=1)).delete()
    Lease.objects.filter(expires_at__lt=now - timedelta(days=1)).delete()
    Session.objects.filter(expire_date__lt=now).delete()
