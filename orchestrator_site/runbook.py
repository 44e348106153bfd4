"""The runbook as a page of the product: at night there may be nothing else. It asks neither the database nor who reads
it, so that it is there when the database is not; it says nothing that the public documents do not."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from orchestrator_site.places import PACKAGE

FENCE = "```"
TITLE, HEADING = "# ", "## "
NUMBERED = re.compile(r"(\d+)\. ")
# What a sentence has in it, the first that fits: code, strong and stressed words, a link.
INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)]+)\)")
OURS = "/admin/"


class Heading(NamedTuple):
    anchor: str
    title: str


class Page(NamedTuple):
    headings: list[Heading]
    body: SafeString


def anchor_of(heading: str) -> str:
    """A heading's name in an address, as hosts of such pages spell it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def inline(text: str) -> str:
    """A sentence as HTML. An address of the product's own is a link; one to another document is its name."""
    return "".join(_inline(text))


def _inline(text: str) -> Iterator[str]:
    done = 0
    for found in INLINE.finditer(text):
        yield escape(text[done : found.start()])
        done = found.end()
        code, strong, stressed, name, target = found.groups()
        if code:
            told = f"<code>{escape(code)}</code>"
            yield f'<a href="{escape(code)}">{told}</a>' if code.startswith(OURS) else told
        elif strong:
            yield f"<strong>{escape(strong)}</strong>"
        elif stressed:
            yield f"<em>{escape(stressed)}</em>"
        else:
            yield f'<a href="{escape(target)}">{escape(name)}</a>' if target.startswith("#") else escape(name)
    yield escape(text[done:])


def page_of(text: str) -> Page:
    """The page of a document in the part of Markdown that the runbook keeps to: headings, paragraphs, numbered steps
    and blocks of commands."""
    headings = [line.removeprefix(HEADING) for line in text.splitlines() if line.startswith(HEADING)]
    body = mark_safe("\n".join(_blocks(text)))  # noqa: S308  every piece is escaped
    return Page([Heading(anchor_of(each), each) for each in headings], body)


def _blocks(text: str) -> Iterator[str]:
    for place, part in enumerate(re.split(rf"^{FENCE}\n?", text, flags=re.MULTILINE)):
        if place % 2:
            yield f'<pre tabindex="0"><code>{escape(part)}</code></pre>'
            continue
        for block in re.split(r"\n{2,}", part.strip()):
            if block:
                yield _block(block)


def _block(block: str) -> str:
    if block.startswith(HEADING):
        title = block.removeprefix(HEADING)
        return f'<h2 id="{anchor_of(title)}">{inline(title)}</h2>'
    if block.startswith(TITLE):
        return ""  # the template's
    if first := NUMBERED.match(block):
        steps = "".join(f"<li>{inline(step)}</li>" for step in _steps(block))
        return f'<ol start="{first[1]}">{steps}</ol>'
    return f"<p>{inline(block)}</p>"


def _steps(block: str) -> Iterator[str]:
    """The steps of a list; one may go on in the next line."""
    for step in re.split(r"\n(?=\d+\. )", block):
        yield NUMBERED.sub("", " ".join(step.split()), count=1)


@functools.cache
def runbook() -> Page:
    return page_of((PACKAGE / "runbook.md").read_text())


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    return render(request, "admin/runbook.html", {"page": runbook()})
