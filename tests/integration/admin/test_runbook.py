"""The runbook: every alarm has its section, and the product shows it when all it has left is the web server."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from django.urls import resolve

from orchestrator_site import runbook, unavailable
from orchestrator_site.runbook import anchor_of, inline, page_of
from pools.alarm_rows import AlarmCode
from pools.models import Fleet
from pools.runbook import PAGE, SECTION_OF, Section
from tests.fixtures.documents import anchors_in, blocks_in, text_of

TEXT = text_of("docs/runbook.md")
PARTS = ("**You see**", "**Why.**", "1. ", "**It worked** when")


def sections() -> dict[str, str]:
    """The text of each section by its anchor."""
    _, *parts = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    return {anchor_of(part.partition("\n")[0]): part for part in parts}


def test_each_alarm_has_a_section_and_each_section_can_be_named():
    assert set(SECTION_OF) == set(AlarmCode)
    assert {section.value for section in Section} == set(sections())
    assert set(sections()) < anchors_in(TEXT)


@pytest.mark.parametrize("anchor", sections())
def test_a_section_says_what_one_sees_why_what_to_press_and_how_one_knows_that_it_worked(anchor: str):
    for part in PARTS:
        assert part in sections()[anchor], part


def test_every_block_of_commands_is_run_by_a_test():
    assert [block for block in blocks_in(TEXT) if block.why_not] == []


def test_the_page_is_there_without_a_session_or_a_database():
    """No test mark: a query would fail."""
    answer = Client().get(PAGE)
    html = answer.content.decode()
    assert answer.status_code == 200
    for section in Section:
        assert f'id="{section}"' in html
        assert f'href="#{section}"' in html
    assert Client().post(PAGE).status_code == 405


def test_it_is_at_the_address_that_workers_tell():
    assert resolve(PAGE).func is runbook.show


def test_every_link_on_it_leads_somewhere():
    targets = set(re.findall(r'href="([^"]+)"', runbook.runbook().body))
    for target in map(unescape, targets):
        if target.startswith("#"):
            assert target[1:] in set(Section)
        else:
            assert resolve(target.partition("?")[0])


def test_what_is_written_is_shown_as_it_is_and_nothing_of_it_is_markup():
    assert inline("a < b, **so** *now* `x & y` [up](#up) [api](api.md)") == (
        "a &lt; b, <strong>so</strong> <em>now</em> <code>x &amp; y</code> "
        '<a href="#up">up</a> api'
    )  # fmt: skip
    page = page_of("# T\n\nOne\ntwo\n\n## It's up\n\n1. a\n   b\n2. c\n\n```\nx <y>\n```\n\n3. d\n")
    assert [tuple(each) for each in page.headings] == [("its-up", "It's up")]
    assert page.body.split("\n", 2)[1] == "<p>One"
    assert '<ol start="1"><li>a b</li><li>c</li></ol>' in page.body
    assert '<pre tabindex="0"><code>x &lt;y&gt;' in page.body
    assert '<ol start="3"><li>d</li></ol>' in page.body


def test_an_alarm_in_the_admin_leads_to_its_section(viewer, fleet):
    Fleet.objects.update(maintenance=True)
    page = viewer.get("/admin/pools/fleet/").content.decode()
    assert f'href="{Section.SWITCHED_OFF.url}"' in page


def test_who_is_told_that_the_admin_can_not_be_shown_now_is_led_to_it():
    assert f'href="{Section.DATABASE.url}"' in unavailable.answer("/admin/pools/fleet/").content.decode()
    assert PAGE not in unavailable.answer("/").content.decode()
