"""Sessions in the database. One that can't be written just now is not taken for one that was deleted meanwhile."""

from __future__ import annotations

from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError

from orchestrator_site.unavailable import is_unavailable


class SessionStore(db.SessionStore):
    def save(self, must_create: bool = False) -> None:
        """Raises what Django's does; of a database that is locked, read-only or full, its own error instead of
        UpdateError, which would be a 400."""
        try:
            super().save(must_create)
        except UpdateError as error:
            blamed = error.__context__
            if blamed is None or not is_unavailable(blamed):
                raise
            raise blamed from blamed.__cause__  # which tells what the driver said
