"""What each token of the account may do: scopes by their public names, as the API's description has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

READ, CREATE, UPDATE, DELETE = "app:read", "app:create", "app:update", "app:delete"
ALL = frozenset({READ, CREATE, UPDATE, DELETE})
# Every other operation, `propose` among them, takes app:read.
CHANGING = {
    "create": CREATE,
    "delete": DELETE,
    "update": UPDATE,
    "restart": UPDATE,
    "deploy": UPDATE,
    "cancel": UPDATE,
}


def missing_scope(held: frozenset[str], operation: str) -> str:
    """The scope that the operation takes and the token has not; empty when it may."""
    wanted = CHANGING.get(operation, READ)
    return "" if wanted in held else wanted


def read_scopes(given: Any) -> dict[str, frozenset[str]]:
    """The scopes of each token, from a JSON object of lists; one that is not in it may do all. Raises ValueError."""
    if not isinstance(given, Mapping) or not all(_is_a_list_of_scopes(scopes) for scopes in given.values()):
        raise ValueError(f"scopes must be an object: for each token a list of {', '.join(sorted(ALL))}")
    return {str(token): frozenset(scopes) for token, scopes in given.items()}


def _is_a_list_of_scopes(scopes: Any) -> bool:
    return isinstance(scopes, Sequence) and not isinstance(scopes, str) and set(scopes) <= ALL
