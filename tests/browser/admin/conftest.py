"""The whole product, operators with their rights in front of it, and hands on its cloud behind its back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page

from tests.fixtures.local_cloud_control import LocalCloudControl
from tests.fixtures.stack import Stack, copy_of
from tests.fixtures.waiting import until

FLEET = "/admin/pools/fleet/"
GROUPS = {"vera": "Viewers", "otto": "Operators", "dora": "Destroyers", "dirk": "Destroyers"}
PASSWORD = "sandy-shores-7"
MAKE_PEOPLE = """
from django.contrib.auth.models import Group, User
for name, group in {groups}.items():
    user = User.objects.create_user(name, password={password!r}, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
"""
SECONDS = 60


@pytest.fixture(scope="module")
def product(built_var: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Orphans have a long grace: it is for operators to delete them."""
    stack = Stack(
        copy_of(built_var, tmp_path_factory.mktemp("product")),
        MAX_TOTAL_SANDBOXES="6",
        ORPHAN_GRACE_SECONDS="3600",
        SANDBOX_MIN_LIFETIME_MINUTES="120",
        SANDBOX_MAX_LIFETIME_MINUTES="120",  # a game outlives all tests here
    )
    try:
        stack.start().python(MAKE_PEOPLE.format(groups=GROUPS, password=PASSWORD))
        yield stack
    finally:
        stack.close()
        print(stack.log)


@pytest.fixture(scope="module")
def cloud(product: Stack) -> LocalCloudControl:
    port = (product.var / "localcloud" / "port").read_text()
    token = (product.var / "localcloud" / "token").read_text()
    return LocalCloudControl(f"http://127.0.0.1:{port.strip()}", token)


class Operator:
    """Somebody signed in, in front of the admin."""

    def __init__(self, name: str, page: Page, site: str) -> None:
        self.name, self.page, self.site = name, page, site
        page.goto(f"{site}/admin/login/?next={FLEET}")
        page.locator("#id_username").fill(name)
        page.locator("#id_password").fill(PASSWORD)
        page.locator("[type=submit]").click()
        page.wait_for_url(f"**{FLEET}")

    def open(self, path: str = FLEET) -> Operator:
        self.page.goto(self.site + path)
        return self

    def row(self, name: str) -> Locator:
        return self.page.locator("#fleet-live tr[data-key]").filter(has_text=name)

    def verdict(self, name: str) -> str:
        return "".join(self.row(name).locator(".badge").all_inner_texts())  # one question: rows come and go

    def sees(self, name: str, verdict: str) -> None:
        """Wait until the row says so; the page is not loaded again."""
        until(lambda: self.verdict(name) == verdict, f"{name} is {verdict or 'gone'}", seconds=SECONDS)

    def pick(self, *names: str) -> Operator:
        """Tick rows and go to the page that asks once more."""
        for name in names:
            self.row(name).locator("input[name=key]").check()
        self.page.get_by_role("button", name="Force delete ticked rows").click()
        self.page.get_by_role("heading", name="Force delete").wait_for()
        return self

    def confirm(self, reason: str = "it costs money") -> str:
        """Say why and press the button; what the page then says."""
        self.page.get_by_label("Why").fill(reason)
        self.page.get_by_role("button", name="Yes, delete").click()
        self.page.wait_for_url(f"**{FLEET}")
        return self.page.locator(".messagelist").inner_text()


SignIn = Callable[..., Operator]


@pytest.fixture
def sign_in(open_page: Callable[..., Page], product: Stack) -> SignIn:
    """`sign_in("dora")`: an operator in a profile of their own; the options are those of Playwright's `new_context`."""

    def arrive(name: str, **options: Any) -> Operator:
        return Operator(name, open_page(**{"viewport": {"width": 1280, "height": 800}, **options}), product.url)

    return arrive


@pytest.fixture
def dora(sign_in: SignIn) -> Operator:
    """May do everything."""
    return sign_in("dora")
