"""Who asks, and rows to be asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from games.models import Game
from runs.visitors import known_visitor
from tests.integration.pages.conftest import make_sandbox, pool, snake

__all__ = ["make_sandbox", "pool", "snake"]  # the same rows


def person(*rights: str) -> Client:
    """A browser in which somebody on the staff with these rights is signed in."""
    user = User.objects.create_user("ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(db: None) -> Client:
    return person("view_fleet", "operate_fleet", "view_run")


@pytest.fixture
def player(snake: Game) -> Client:
    """A browser that has been here before."""
    client = Client()
    client.get("/")
    return client


@pytest.fixture
def name_of() -> Callable[[Client], str]:
    """The visitor that a browser's runs are kept under."""

    def of(client: Client) -> str:
        name = known_visitor(client.get("/").wsgi_request)
        assert name is not None
        return name

    return of
