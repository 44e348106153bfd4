"""Who launched, as operators read and ask for it: a key by its name, a visitor by the first letters of their hash, an
operator who tries a game by name."""

from __future__ import annotations

import re
from collections.abc import Collection

from django.db.models import Q, QuerySet

from pools.api_keys import PREFIX_CHARACTERS, ApiKey, client_of
from runs import clients
from runs.models import Run

KEYS_LOOKED_AT = 100
KEY, VISITOR = "key", "visitor"


def creators(names: Collection[str]) -> dict[str, str]:
    """Return the creators that runs are kept under (`Run.visitor`), as people read them; in one statement at most."""
    beginning = client_of("")
    prefixes = {name.removeprefix(beginning) for name in names if name.startswith(beginning)}
    found = ApiKey.objects.filter(prefix__in=prefixes).values_list("prefix", "name") if prefixes else []
    named = {client_of(prefix): f"{KEY} {name} ({prefix})" for prefix, name in found}
    return {name: named.get(name) or _unnamed(name) for name in names}


def _unnamed(name: str) -> str:
    if name.startswith(clients.OPERATOR):
        return clients.shown(name)
    beginning = client_of("")
    is_key = name.startswith(beginning)
    return f"{KEY} {name.removeprefix(beginning)}" if is_key else f"{VISITOR} {clients.shown(name)}"


def runs_by(typed: str) -> QuerySet[Run]:
    """Those that a key launched whose name has that in it, or a visitor whose hash begins so; as `creators` writes it,
    too. In no order."""
    words = typed.strip()
    if match := re.search(rf"\(([0-9a-f]{{{PREFIX_CHARACTERS}}})\)$", words):
        return Run.objects.order_by().filter(visitor=client_of(match[1]))
    operator = clients.OPERATOR.replace(":", " ")
    if words.startswith(operator):
        return Run.objects.order_by().filter(visitor=clients.OPERATOR + words.removeprefix(operator))
    words = words.removeprefix(f"{KEY} ").removeprefix(f"{VISITOR} ").strip()
    if not words:
        return Run.objects.none()
    keys = ApiKey.objects.filter(Q(name__icontains=words) | Q(prefix=words)).order_by()
    prefixes = keys.values_list("prefix", flat=True)[:KEYS_LOOKED_AT]
    of_keys = Q(visitor__in=[client_of(each) for each in prefixes])
    return Run.objects.order_by().filter(of_keys | Q(visitor__startswith=words))
