"""Each list of the admin as CSV and JSON: the rows that its filters leave, nothing secret, nothing that calculates."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pools import api_keys, journal
from pools.console import exports
from pools.console.rights import ActingAdmin
from pools.models import FleetEvent, Sandbox
from tests.integration.admin.conftest import on_paper, sign_in

SANDBOXES, LOG, KEYS = "/admin/pools/sandbox/", "/admin/pools/fleetevent/", "/admin/pools/apikey/"
LISTS = (
    *("pools/sandbox", "pools/cloudapp", "pools/fleetevent", "pools/pool", "pools/apikey", "pools/webhook"),
    *("pools/delivery", "runs/run", "games/game", "games/snapshot", "admin/logentry"),
)


def body(answer: Any) -> str:
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def as_rows(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body(answer))))


@pytest.mark.parametrize("path", LISTS)
def test_each_list_links_to_both_and_both_say_the_same(path, destroyer, pool, snake):
    on_paper(2, pool, snake)
    assert "export.csv" in destroyer.get(f"/admin/{path}/").content.decode()
    told = json.loads(body(destroyer.get(f"/admin/{path}/export.json")))
    assert len(as_rows(destroyer.get(f"/admin/{path}/export.csv"))) == len(told)


def test_a_filter_and_a_search_hold_for_the_export_too(viewer, pool, snake):
    on_paper(3, pool, snake)
    Sandbox.objects.filter(name="sandbox-00000001").update(state="ready")
    path = f"{SANDBOXES}export.csv"
    assert [row["name"] for row in as_rows(viewer.get(path, state__exact="ready"))] == ["sandbox-00000001"]
    assert [row["name"] for row in as_rows(viewer.get(path, q="00000002"))] == ["sandbox-00000002"]
    assert "export.csv?state__exact=ready" in viewer.get(SANDBOXES, state__exact="ready").content.decode()
    assert viewer.get(path, nonsense="1").status_code == 400


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(begin, viewer, db):
    journal.record("trouble", f'{begin}HYPERLINK("http://a.example")', now=timezone.now())
    assert as_rows(viewer.get(f"{LOG}export.csv"))[0]["message"].startswith(f"'{begin}")
    assert json.loads(body(viewer.get(f"{LOG}export.json")))[0]["message"].startswith(begin)


def test_no_export_has_a_secret(destroyer, db):
    key, token = api_keys.make("robot", ["read"], by="dora", now=timezone.now())
    text = body(destroyer.get(f"{KEYS}export.json"))
    assert key.prefix in text
    assert token not in text
    columns = {each for model in admin.site._registry.values() for each in getattr(model, "exported", ())}
    assert not [each for each in columns if any(word in each for word in ("secret", "digest_of", "hash", "token"))]
    assert "digest" not in columns


def test_every_list_of_ours_but_the_signs_of_life_is_exported():
    ours = [each for each in admin.site._registry.values() if isinstance(each, ActingAdmin) and not each.exported]
    assert {type(each).__name__ for each in ours} == {
        *("FleetAdmin", "BeatAdmin", "FailureAdmin", "SuccessAdmin", "AccessAttemptAdmin")
    }


def test_a_long_list_comes_whole_in_portions_each_a_statement(viewer, pool, snake, monkeypatch):
    on_paper(25, pool, snake)
    path = f"{LOG}export.json"
    with CaptureQueriesContext(connection) as at_once:
        body(viewer.get(path))
    monkeypatch.setattr(exports, "PORTION", 10)
    with CaptureQueriesContext(connection) as in_portions:
        numbers = [row["seq"] for row in json.loads(body(viewer.get(path)))]
    assert numbers == list(FleetEvent.objects.order_by("-seq").values_list("seq", flat=True))
    assert len(in_portions) == len(at_once) + 2


def test_rows_of_one_moment_come_once_each(viewer, pool, snake, monkeypatch):
    on_paper(25, pool, snake)  # all asked for at the same time
    monkeypatch.setattr(exports, "PORTION", 10)
    names = [row["name"] for row in as_rows(viewer.get(f"{SANDBOXES}export.csv"))]
    assert sorted(names) == sorted(Sandbox.objects.values_list("name", flat=True))


def test_who_may_not_see_a_list_gets_no_export(client, db):
    assert client.get(f"{SANDBOXES}export.csv").status_code == 302
    assert sign_in("nora").get(f"{SANDBOXES}export.csv").status_code == 403


def test_there_are_no_other_kinds(viewer, db):
    assert viewer.get(f"{SANDBOXES}export.xml").status_code == 404
