"""Numbers and times as the pages write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from math import ceil
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from games.covers import cover_version
from games.models import Game
from pools.models import Fleet
from runs.models import Run, RunState
from runs.pages.charts import Bar

register = template.Library()

UNKNOWN = "\N{EN DASH}"


@register.filter
def ms(value: int | None) -> str:
    """Milliseconds as people read them: 84 ms, 1.3 s, 2 min 5 s."""
    if value is None:
        return UNKNOWN
    if value < 995:
        return f"{value} ms"
    if value < 59_950:
        return f"{value / 1000:.1f} s"
    return seconds(value / 1000)


@register.filter
def seconds(value: float | None) -> str:
    """Seconds as people read them: 40 s, 2 min 5 s, 3 h 10 min."""
    if value is None:
        return UNKNOWN
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text from a manifest, whose lines end where its author's editor was full."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]


@register.filter
def usd(value: Decimal | None) -> str:
    """Dollars, with as many places as a fraction of a cent needs."""
    if value is None:
        return UNKNOWN
    return f"${value:.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


@register.simple_tag
def left_of(run: Run, now: datetime) -> str:
    """How much of a run is left, in words; that it starts, or comes to its end, else."""
    if run.state != RunState.RUNNING or run.expires_at is None:
        return "starting"
    minutes = ceil((run.expires_at - now).total_seconds() / 60)
    return f"{minutes} min left" if minutes > 1 else "less than a minute left" if minutes == 1 else "about to end"


@register.simple_tag
def moment(value: datetime | None, style: str = "time") -> SafeString:
    """A moment in UTC, which the page's script turns into the visitor's own time zone."""
    if value is None:
        return SafeString(UNKNOWN)
    written = (
        f"{value:%H:%M} UTC"
        if style == "time"
        else f"{value:%H:%M:%S}"
        if style == "log"
        else f"{value:%d %b %H:%M} UTC"
    )
    return format_html(
        '<time datetime="{}" data-local="{}">{}</time>', value.isoformat(timespec="milliseconds"), style, written
    )


@register.simple_tag
def bars(drawn: Sequence[Bar], fill: str, radius: int = 0) -> SafeString:
    """A chart's bars. Not a template for each: there are hundreds on a page."""
    rounded = f' rx="{radius}"' if radius else ""
    return format_html_join(
        "\n",
        '<rect class="fill-{}" x="{}%" y="{}" width="{}%" height="{}"{} />',
        ((fill, str(bar.x), str(bar.y), str(bar.width), str(bar.height), SafeString(rounded)) for bar in drawn),
    )


@register.simple_tag
def cover_url(game: Game) -> str:
    """The address of a game's picture, new whenever the picture is."""
    return f"{reverse('game-cover', args=[game.slug])}?v={cover_version(game.cover)}"


@register.inclusion_tag("site/maintenance.html")
def maintenance_notice() -> dict[str, Any]:
    """Says on every page that nothing can be launched for now, and why."""
    return {"fleet": Fleet.objects.filter(pk=1, maintenance=True).first()}
