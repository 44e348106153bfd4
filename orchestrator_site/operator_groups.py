"""The ready-made groups: who may see the fleet, who may act on it, who may destroy."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission

OUR_APPS = ("pools", "games", "runs", "orchestrator_site")
TASKS = (
    "view_failure",
    "view_success",
    "view_schedule",
    "view_ormq",
)  # of Django-Q; a failed one may be run again there
ACT = ("operate_fleet",)
DESTROY = ("destroy_fleet",)


def ensure() -> None:
    """Make the groups, and give them what they lack. For other rights make a group of your own: these are kept."""
    views = list(Permission.objects.filter(content_type__app_label__in=OUR_APPS, codename__startswith="view_"))
    log = list(Permission.objects.filter(content_type__app_label="admin", codename="view_logentry"))
    tasks = list(Permission.objects.filter(content_type__app_label="django_q", codename__in=TASKS))
    act = list(Permission.objects.filter(content_type__app_label="pools", codename__in=ACT))
    destroy = list(Permission.objects.filter(content_type__app_label="pools", codename__in=DESTROY))
    rights = {
        "Viewers": [*views, *log],
        "Operators": [*views, *log, *tasks, *act],
        "Destroyers": [*views, *log, *tasks, *act, *destroy],
    }
    for name, permissions in rights.items():
        Group.objects.get_or_create(name=name)[0].permissions.add(*permissions)
