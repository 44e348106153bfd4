"""Who may have webhooks: keys for what is launched with them, administrators for everything."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.http import HttpRequest

from pools.api_keys import ApiKey, Scope, client_of
from pools.callers import RIGHTS, actor_of, key_of, may, require
from pools.webhooks import Webhook

KEY = client_of("")  # what owners begin with that are keys


class Owner(NamedTuple):
    """Who asks: `name` is kept with the webhook, `actor` is for the log."""

    name: str
    actor: str
    is_admin: bool
    is_key: bool


def owner_of(request: HttpRequest) -> Owner:
    """Raises Problem for those who may have no webhooks."""
    key, is_admin = key_of(request), may(request, Scope.ADMIN)
    if not is_admin:
        require(request, Scope.ADMIN if key is None else Scope.LAUNCH)
    actor = actor_of(request)
    return Owner(actor if key is None else key.client, actor, is_admin, key is not None)


def may_still_have(webhook: Webhook, now: datetime) -> bool:
    """Whether its owner would get it today."""
    scope = Scope.ADMIN if webhook.is_of_all else Scope.LAUNCH
    if webhook.owner.startswith(KEY):
        key = ApiKey.objects.filter(prefix=webhook.owner.removeprefix(KEY)).first()
        return key is not None and key.refusal(now) is None and key.may(scope)
    user = get_user_model().objects.filter(username=webhook.owner, is_active=True, is_staff=True).first()
    return user is not None and bool(user.has_perm(RIGHTS[Scope.ADMIN]))
