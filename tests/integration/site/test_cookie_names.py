"""What browsers are given to keep, by an installation behind HTTPS."""

from __future__ import annotations

from tests.fixtures.databases import Database

COOKIES = """
from django.contrib.auth.models import User
from django.test import Client
User.objects.create_superuser("otto", password="sandy-shores-7")
client = Client(HTTP_HOST="arcade.example")
client.get("/", secure=True)
client.post("/admin/login/", {"username": "otto", "password": "sandy-shores-7"}, secure=True)
client.post("/admin/pools/fleet/maintenance/", {"turn": "on", "message": "Back soon.", "reason": "a test"}, secure=True)
for name, cookie in client.cookies.items():
    print(name.rpartition("_")[0], cookie["secure"], cookie["path"], cookie["domain"] or "-")
"""


def test_over_https_all_cookies_are_this_hosts_alone(migrated_database: Database):
    """Browsers refuse a cookie of such a name that is not secure, not of all paths, or of a whole domain."""
    migrated_database.environment["PUBLIC_URL"] = "https://arcade.example"
    told = set(migrated_database.answer(COOKIES).splitlines())
    assert told == {f"__Host-{what} True / -" for what in ("session", "csrf", "visitor", "messages")}
