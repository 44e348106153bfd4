"""Edits of a pool are safe: what it is made of is chosen from what there is, nobody's edit is lost, and what an edit
will cost is said first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.db import connection

from pools.cloud.errors import CloudUnavailable
from pools.cloud.survey import Survey
from pools.console import offer
from pools.models import Pool
from tests.integration.admin.conftest import log
from tests.integration.admin.test_pools import POOLS, errors, form_of, save

ADD = f"{POOLS}add/"


@pytest.fixture(autouse=True)
def asked_anew(settings: Any) -> Iterator[None]:
    settings.MAX_TOTAL_SANDBOXES = 20
    offer.forget()
    yield
    offer.forget()


class Account:
    """What the account offers, and how often it was asked."""

    def __init__(self) -> None:
        self.sizes = {"apps-s-1vcpu-1gb": Decimal(12), "apps-s-2vcpu-4gb": Decimal(50)}
        self.regions = {"syd": True, "ams": True, "nyc": False}
        self.trouble: Exception | None = None
        self.asked = 0

    def prices(self) -> dict[str, Decimal]:
        self.asked += 1
        if self.trouble:
            raise self.trouble
        return self.sizes


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    made = Account()
    monkeypatch.setattr(Survey, "prices", made.prices)
    monkeypatch.setattr(Survey, "regions", lambda survey: made.regions)
    return made


def page(person: Any, pool: Pool) -> str:
    return unescape(person.get(f"{POOLS}{pool.pk}/change/").content.decode())


def options(html: str, name: str) -> list[str]:
    select = re.search(rf'<select name="{name}".*?</select>', html, re.DOTALL)
    return re.findall(r"<option[^>]*>([^<]*)</option>", select[0]) if select else []


# What it is made of.


def test_sizes_are_chosen_from_what_the_account_has_with_their_price(operator, fleet, pool):
    html = page(operator, pool)
    assert "apps-s-1vcpu-1gb: $0.0179 an hour, $12.00 a month" in options(html, "size")
    assert "syd" in options(html, "region")
    save(operator, pool, form_of(pool), size="apps-s-1vcpu-0.5gb", region="ams")
    pool.refresh_from_db()
    assert (pool.size, pool.region) == ("apps-s-1vcpu-0.5gb", "ams")


def test_the_account_is_asked_once_for_many_looks(operator, account, pool):
    for _ in range(3):
        page(operator, pool)
    save(operator, pool, form_of(pool), max_ready=3)
    assert account.asked == 1


def test_it_is_not_asked_within_a_transaction(operator, account, pool, monkeypatch):
    depths: list[int] = []
    outside = len(connection.savepoint_ids)
    monkeypatch.setattr(Survey, "prices", lambda survey: depths.append(len(connection.savepoint_ids)) or account.sizes)
    save(operator, pool, form_of(pool), max_ready=3)
    assert depths == [outside]


def test_a_size_that_is_gone_stays_until_somebody_chooses_another(operator, account, pool):
    Pool.objects.update(size="apps-s-old")
    pool.refresh_from_db()
    assert "apps-s-old (the account does not offer it any more)" in options(page(operator, pool), "size")
    save(operator, pool, form_of(pool), max_ready=3)
    pool.refresh_from_db()
    assert (pool.size, pool.max_ready) == ("apps-s-old", 3)


def test_a_size_that_went_while_the_page_was_open_is_refused(operator, account, pool):
    form = form_of(pool)
    page(operator, pool)
    del account.sizes["apps-s-2vcpu-4gb"]
    offer.forget()
    answer = save(operator, pool, form, size="apps-s-2vcpu-4gb")
    assert errors(answer) == {"size": ["The account does not offer this size: apps-s-2vcpu-4gb."]}


def test_a_region_that_takes_no_apps_says_so_and_a_data_centre_is_no_stranger(operator, account, pool):
    Pool.objects.update(region="syd1")
    assert options(page(operator, pool), "region") == ["ams", "nyc (takes no apps now)", "syd", "syd1"]


def test_a_price_that_is_unknown_is_said_to_be(operator, account, pool):
    account.sizes["apps-s-new"] = Decimal(0)
    assert "apps-s-new: price unknown" in options(page(operator, pool), "size")


def test_an_account_that_can_not_be_asked_leaves_it_to_be_typed(operator, account, pool):
    account.trouble = CloudUnavailable("It timed out.")
    html = page(operator, pool)
    assert options(html, "size") == options(html, "region") == []
    assert "The account can't be asked which sizes there are, and their prices, so type it. It timed out." in html
    assert 'name="size" value="apps-s-1vcpu-1gb"' in html
    save(operator, pool, form_of(pool), size="apps-s-typed", consent="unknown")
    pool.refresh_from_db()
    assert pool.size == "apps-s-typed"
    assert account.asked == 1, "for a while nobody waits for it again"


def test_a_new_pool_begins_with_what_the_settings_say(operator, account, settings):
    answer = operator.get(ADD)
    assert answer.context["adminform"].form["size"].value() == settings.SANDBOX_SIZE


# Two editors.


def test_an_edit_over_a_newer_edit_of_the_same_setting_is_refused_with_both(operator, destroyer, pool):
    form = form_of(pool)
    save(destroyer, pool, form, max_ready=4)
    answer = save(operator, pool, form, max_ready=5, idle_timeout_seconds=99)
    pool.refresh_from_db()
    assert (pool.max_ready, pool.idle_timeout_seconds) == (4, 600), "nothing of it is saved"
    (clash,) = answer.context["clashes"]
    assert (clash.label, clash.seen, clash.now, clash.yours) == ("Max ready", 2, 4, 5)
    html = " ".join(answer.content.decode().split())
    assert "last by dora, 0 s ago" in html
    assert '<input type="hidden" name="initial-max_ready" value="4"' in html
    assert 'name="max_ready" value="5"' in html


def test_an_edit_that_was_refused_holds_when_it_is_sent_once_more(operator, destroyer, pool):
    form = form_of(pool)
    save(destroyer, pool, form, max_ready=4)
    save(operator, pool, form, max_ready=5)
    save(operator, pool, form | {"initial-max_ready": 4}, max_ready=5)
    pool.refresh_from_db()
    assert pool.max_ready == 5
    assert log("pool")[0][1] == "pool python: max_ready is now 5, was 4; an operator: the fair opens"


def test_a_third_edit_in_between_is_refused_again(operator, destroyer, pool):
    form = form_of(pool)
    save(destroyer, pool, form, max_ready=4)
    save(operator, pool, form, max_ready=5)
    save(destroyer, pool, form | {"initial-max_ready": 4}, max_ready=6)
    (clash,) = save(operator, pool, form | {"initial-max_ready": 4}, max_ready=5).context["clashes"]
    assert (clash.now, clash.yours) == (6, 5)


def test_two_who_mean_the_same_do_not_clash(operator, destroyer, pool):
    form = form_of(pool)
    save(destroyer, pool, form, max_ready=4)
    save(operator, pool, form, max_ready=4)
    assert len(log("pool")) == 1


@pytest.mark.parametrize("seen", ["", "many", "-1", "9" * 400, "\0"])
def test_what_no_page_sends_breaks_nothing(operator, pool, seen):
    answer = save(operator, pool, form_of(pool) | {"initial-max_ready": seen}, max_ready=5)
    assert answer.status_code == 200


# What it will cost.


def test_a_notable_rise_is_saved_only_once_it_is_confirmed(operator, pool):
    form = form_of(pool)
    answer = save(operator, pool, form, target_ready=4, max_ready=4)
    pool.refresh_from_db()
    assert pool.target_ready == 1
    assert answer.context["adminform"].form.to_confirm.consent == "36.00"
    html = answer.content.decode()
    assert "+$0.0536 an hour, $36.00 a month more while there is demand: 4 instead of 1 kept ready." in html
    assert 'value="36.00"' in html
    save(operator, pool, form, target_ready=4, max_ready=4, consent="36.00")
    pool.refresh_from_db()
    assert pool.target_ready == 4


def test_who_said_yes_to_less_is_asked_again(operator, pool):
    answer = save(operator, pool, form_of(pool), target_ready=5, max_ready=5, consent="36.00")
    assert answer.context["adminform"].form.to_confirm.consent == "48.00"
    assert not log("pool")


def test_what_costs_little_more_or_less_is_saved_at_once(operator, pool):
    save(operator, pool, form_of(pool), target_ready=2)
    assert len(log("pool")) == 1


def test_of_what_can_not_be_saved_nobody_is_asked_to_pay(operator, pool):
    answer = save(operator, pool, form_of(pool), target_ready=9)
    assert errors(answer).keys() == {"target_ready"}
    assert answer.context["adminform"].form.to_confirm is None


@pytest.mark.parametrize("new", [True, False])
def test_the_cost_is_said_while_it_is_typed(operator, viewer, account, pool, new):
    path = f"{POOLS}{0 if new else pool.pk}/cost/"
    form = {name: str(value) for name, value in form_of(pool).items()}
    del form["autopilot"], form["initial-autopilot"]
    said = operator.get(path, **form | {"target_ready": "6", "max_ready": "6"}).content.decode()
    assert f"${72 if new else 60}.00 a month more" in said
    assert operator.get(path, **form | {"target_ready": "six"}).content == b""
    assert operator.get(path).content == b""
    assert viewer.get(path, **form).status_code == 403
    assert Pool.objects.get().target_ready == 1
