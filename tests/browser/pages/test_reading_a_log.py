"""The browser's reader of events: three ways, one cursor, every line once and in order."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.pages.doors import Doors, served
from tests.fixtures.browser import see_as
from tests.fixtures.waiting import until


@pytest.fixture
def doors() -> Iterator[Doors]:
    with served() as doors:
        yield doors


@pytest.fixture
def reader(browser: Browser, doors: Doors) -> Iterator[Page]:
    """A page of its own: here errors in the console are what is being provoked."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def seen(page: Page) -> list[int]:
    return page.evaluate("[...document.querySelectorAll('#log li')].map((line) => Number(line.textContent))")


def saw_all(page: Page, doors: Doors, since: int = 0) -> None:
    until(lambda: len(seen(page)) >= len(doors.lines) - since, f"all {len(doors.lines)} lines are on the page")
    assert seen(page) == list(range(since + 1, len(doors.lines) + 1))


def ways(page: Page) -> list[str]:
    return page.evaluate("window.ways")


def test_it_reads_by_websocket_first(reader, doors):
    doors.write(3)
    reader.goto(doors.url)
    saw_all(reader, doors)
    doors.write(3)
    saw_all(reader, doors)
    assert ways(reader) == ["WebSocket"]


def test_it_begins_after_what_the_page_shows_already(reader, doors):
    doors.write(5)
    reader.goto(f"{doors.url}/?after=3")
    saw_all(reader, doors, since=3)


def test_without_websockets_it_reads_the_event_stream(reader, doors):
    doors.open.remove("socket")
    doors.write(4)
    reader.goto(doors.url)
    saw_all(reader, doors)
    assert ways(reader) == ["event stream"]


def test_without_both_it_polls(reader, doors):
    doors.open -= {"socket", "stream"}
    doors.write(4)
    reader.goto(doors.url)
    saw_all(reader, doors)
    doors.write(4)
    saw_all(reader, doors)
    assert ways(reader) == ["polling"]


def test_an_event_stream_that_a_proxy_holds_back_gives_way_to_polling(reader, doors):
    doors.open.remove("socket")
    doors.holds_back = True
    doors.write(4)
    reader.goto(doors.url)
    saw_all(reader, doors)
    assert ways(reader) == ["polling"]


def test_no_line_is_lost_or_doubled_through_every_switch(reader, doors):
    doors.write(10)
    reader.goto(doors.url)
    saw_all(reader, doors)
    for way_that_is_left in ("stream", "poll", "socket"):
        doors.open = {way_that_is_left}
        doors.write(10)
        saw_all(reader, doors)
    assert {"WebSocket", "event stream", "polling"} <= set(ways(reader))


def test_a_reader_that_is_cut_off_at_every_line_still_sees_each_once(reader, doors):
    doors.cut_after = 1
    doors.write(8)
    reader.goto(doors.url)
    saw_all(reader, doors)


def test_lines_that_come_again_are_shown_once(reader, doors):
    doors.repeats, doors.cut_after = True, 3
    doors.write(9)
    reader.goto(doors.url)
    saw_all(reader, doors)


def test_it_comes_back_after_everything_was_away(reader, doors):
    doors.write(2)
    reader.goto(doors.url)
    saw_all(reader, doors)
    doors.open = set()
    until(lambda: "waiting" in reader.text_content("#way"), "it says that it waits")
    doors.write(2)
    doors.open = {"socket", "stream", "poll"}
    saw_all(reader, doors)


def test_it_stops_at_the_end(reader, doors):
    doors.write(2)
    doors.write(1, kind="end")
    reader.goto(doors.url)
    saw_all(reader, doors)
    until(lambda: reader.text_content("#way").strip() == "waiting", "it follows nothing any more")


# A browser has six connections for all pages of a site.


def test_however_many_pages_read_the_site_still_answers(browser: Browser, doors: Doors):
    """Seven without WebSockets blocked all that came after."""
    doors.open.remove("socket")
    doors.write(3)
    context = browser.new_context()
    pages = [context.new_page() for _ in range(10)]
    for page in pages:
        page.goto(doors.url, timeout=10_000)
    for page in pages:
        saw_all(page, doors)
    doors.write(3)
    for page in pages:
        saw_all(page, doors)
    assert {way for page in pages for way in ways(page)} == {"event stream", "polling"}
    assert doors.most_streams <= 3, "two, and one that the server has yet to see closed"
    reading = [page for page in pages if ways(page)[-1] == "event stream"]
    for page in reading:
        page.close()
    others = [page for page in pages if page not in reading]
    until(lambda: [ways(page)[-1] for page in others].count("event stream") == 2, "others take their places at once")
    for page in others:
        page.close()
    until(lambda: doors.streams == 0, "pages that are closed give their places back")
    context.new_page().goto(doors.url)
    until(lambda: doors.streams == 1, "and the next one takes one", seconds=120)
    context.close()


def test_a_page_that_nobody_sees_holds_no_connection_and_misses_nothing(reader, doors):
    doors.open.remove("socket")
    doors.write(3)
    reader.goto(doors.url)
    saw_all(reader, doors)
    see_as(reader, "hidden")
    until(lambda: doors.streams == 0, "its stream is given back")
    assert reader.text_content("#way") == "paused waiting"
    doors.write(5)
    assert len(seen(reader)) == 3
    see_as(reader, "visible")
    saw_all(reader, doors)
    doors.write(1)
    saw_all(reader, doors)
    assert ways(reader) == ["event stream"]


def test_a_look_at_another_page_and_back_costs_nothing(reader, doors):
    doors.open.remove("socket")
    reader.goto(doors.url)
    until(lambda: doors.streams == 1, "it reads")
    see_as(reader, "hidden")
    see_as(reader, "visible")
    doors.write(2)
    saw_all(reader, doors)
    assert doors.streams == 1
    assert ways(reader) == ["event stream"]


def test_a_page_that_was_opened_in_the_background_reads_when_it_is_seen(reader, doors):
    doors.write(2)
    hidden = "Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' })"
    reader.add_init_script(hidden)
    reader.goto(doors.url)
    reader.wait_for_timeout(300)
    assert seen(reader) == []
    see_as(reader, "visible")
    saw_all(reader, doors)


def test_a_page_that_nobody_sees_asks_for_none_of_its_parts(reader, doors):
    """It asked every two seconds for as long as the server was away."""
    asked = []
    reader.on("request", lambda request: asked.append(request.url) if "/parts" in request.url else None)
    reader.goto(doors.url)
    reader.evaluate("import('/static/js/live.js').then(({ liveParts }) => (window.refresh = liveParts('/parts')))")
    with reader.expect_request("**/parts"):
        reader.evaluate("window.refresh()")
    with reader.expect_request("**/parts"):
        pass  # again, because nothing answers there
    see_as(reader, "hidden")
    reader.wait_for_timeout(300)
    before = len(asked)
    reader.evaluate("window.refresh()")
    reader.wait_for_timeout(5_000)
    assert len(asked) == before
    with reader.expect_request("**/parts"):
        see_as(reader, "visible")
