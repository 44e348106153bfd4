"""The orchestrator log: searched, filtered, followed, and each line linked."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from games.models import Game
from pools.models import FleetEvent, Pool, Sandbox
from runs.models import Run
from tests.integration.admin.conftest import on_paper, queries

LOG = "/admin/pools/fleetevent/"


def write(seq: int, message: str = "a line", **fields: Any) -> FleetEvent:
    return FleetEvent.objects.create(
        seq=seq, at=timezone.now(), kind=fields.pop("kind", "create"), message=message, **fields
    )


def found(person: Any, **query: str) -> list[int]:
    answer = person.get(LOG, **query)
    assert answer.status_code == 200
    return [event.seq for event in answer.context["cl"].result_list]


@pytest.fixture
def told(db: None) -> dict[str, Any]:
    """Four lines that differ in everything."""
    run = uuid4()
    write(1, "made", sandbox_name="sandbox-00000001", pool_name="python", level="info")
    write(2, "gone", sandbox_name="sandbox-00000002", kind="delete", level="warning")
    write(3, "launched", run_id=run, kind="launch")
    write(4, "paused", actor="otto", kind="pool", level="error")
    Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb")
    return {"run": run}


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ({"q": "gone"}, [2]),
        ({"sandbox": "sandbox-00000001"}, [1]),
        ({"sandbox": "sandbox-0000000"}, []),
        ({"pool": "python"}, [1]),
        ({"kind__exact": "delete"}, [2]),
        ({"actor": "OTTO"}, [4]),
        ({"actor": "' OR 1=1 --"}, []),
        ({"level__exact": "error"}, [4]),
        ({"level__exact": "warning", "sandbox": "sandbox-00000002"}, [2]),
        ({"level__exact": "error", "sandbox": "sandbox-00000002"}, []),
        ({"run": "zz"}, []),
        ({"run": "\0"}, [4, 3, 2, 1]),
        ({"line": "three"}, []),
        ({"line": "9" * 40}, []),
        ({"line": "\N{ARABIC-INDIC DIGIT THREE}"}, []),
    ],
)
def test_lines_are_found_by_what_they_are_about(viewer, told, query, lines):
    assert found(viewer, **query) == lines


def test_the_lines_of_a_run_are_found_by_the_first_letters_of_its_id(viewer, told):
    run = told["run"]
    assert (
        found(viewer, run=run.hex[:8]) == found(viewer, run=str(run)) == found(viewer, run=f"run {run.hex[:6]}") == [3]
    )
    assert found(viewer, run=run.hex[:3]) == []


def test_a_line_is_linked_among_those_around_it(viewer):
    for seq in range(1, 301):
        write(seq)
    assert found(viewer, line="120") == list(range(170, 70, -1))
    page = viewer.get(LOG, line="120").content.decode()
    assert f'<a id="line-120" href="{LOG}?line=120#line-120">120</a>' in page


def test_a_line_leads_to_its_sandbox_and_its_run_also_when_they_are_gone(viewer, pool, snake):
    on_paper(1, pool, snake)
    sandbox, run = Sandbox.objects.get(), Run.objects.get()
    FleetEvent.objects.update(run_id=run.pk)
    write(90, sandbox_name="sandbox-0badcafe")
    page = viewer.get(LOG).content.decode()
    assert f'<a href="/admin/pools/sandbox/{sandbox.pk}/change/">{sandbox.name}</a>' in page
    assert f'<a href="/admin/runs/run/{run.pk}/change/">{run.short_id}</a>' in page
    assert '<a href="/admin/pools/sandbox/?q=sandbox-0badcafe">' in page


def test_a_filter_that_is_typed_keeps_the_others(viewer, told):
    page = viewer.get(LOG, level__exact="error", q="paused").content.decode()
    form = page.split('<form method="get" class="typed-filter">')[1].split("</form>")[0]
    assert '<input type="hidden" name="level__exact" value="error">' in form
    assert '<input type="hidden" name="q" value="paused">' in form


def test_what_is_typed_comes_back_as_text(viewer, told):
    assert "<script>alert" not in viewer.get(LOG, sandbox="<script>alert(1)</script>").content.decode()


def test_a_thousand_lines_take_as_many_queries_as_ten(viewer, pool: Pool, snake: Game):
    on_paper(10, pool, snake)
    few = queries(viewer, LOG)
    on_paper(200, pool, snake)
    assert queries(viewer, LOG) == few
