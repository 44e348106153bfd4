"""Lists page by page, newest first: a cursor says where a page ended, so rows that come meanwhile shift nothing.

What a page reads is bounded, however many rows there are. It goes along one index (`led`); what no index knows
(`rest`) is looked for among the next LOOKED_AT rows of it, so a page can be short, or empty, and still have a next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from django.core import signing
from django.db.models import Model, Q, QuerySet
from ninja import Schema
from pydantic import AfterValidator, AwareDatetime, Field

from pools.problems import Problem

LOOKED_AT = 1_000
MOST_ROWS = 100
USUAL_ROWS = 50
LONGEST_CURSOR = 300
SALT = "pools.keyset"
NO_ID = UUID(int=0)  # no row has one that comes before

M = TypeVar("M", bound=Model)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is before the year 1 or after 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class PageAsked(Schema):
    """Which page of a list."""

    limit: int = Field(USUAL_ROWS, ge=1, le=MOST_ROWS, description="Rows at the most")
    cursor: str | None = Field(
        None,
        max_length=LONGEST_CURSOR,
        description="`next_cursor` of the page before; without it, the newest rows",
    )


class PageOut(Schema):
    """What there is beside the rows of a page."""

    total: int | None = Field(
        description=f"How many the whole list has; null where it looks at more than {LOOKED_AT:,}",
        examples=[41],
    )
    has_more: bool = Field(description="Whether there is a next page")
    next_cursor: str | None = Field(description="What the next page is asked for with", examples=["WyIyMDI2…:1vOe…"])


class Position(NamedTuple):
    """A row's place in a list."""

    at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """`total` is how many rows the whole list has; None when that would have to be counted among too many."""

    rows: Sequence[M]
    next_cursor: str | None
    total: int | None

    def about(self) -> dict[str, Any]:
        """What an answer says of the page, beside its rows."""
        return {"total": self.total, "has_more": self.next_cursor is not None, "next_cursor": self.next_cursor}


def along_index(rows: QuerySet[M], wanted: Mapping[str, Any], indexed: Sequence[str]) -> tuple[QuerySet[M], Q]:
    """The rows along the first wanted field that has an index of its own with the time, and what else they are to be.
    Give the keys of related rows: joined by their names, all there are would be sorted each time."""
    lead = next((name for name in indexed if name in wanted), None)
    led = rows.filter(**{lead: wanted[lead]}) if lead else rows
    return led, Q(**{name: value for name, value in wanted.items() if name != lead})


def page(led: QuerySet[M], rest: Q, asked: PageAsked, *, at: str) -> Page[M]:
    """One page of the rows of `led` that are as `rest` says, newest first by the field `at`. Raises Problem."""
    cursor, limit = asked.cursor, asked.limit
    ordered = led.order_by(f"-{at}", "-pk")
    after = _beyond(ordered, at, position_of(cursor)) if cursor else ordered
    last_looked_at = None
    if rest:
        last_looked_at = after.values_list(at, "pk")[LOOKED_AT - 1 : LOOKED_AT].first()
        if last_looked_at is not None:
            after = after.filter(**{f"{at}__gte": last_looked_at[0]})
    found = list(after.filter(rest)[: limit + 1])
    rows, following = found[:limit], None
    if len(found) > limit:
        following = Position(getattr(rows[-1], at), rows[-1].pk)
    elif last_looked_at is not None:
        following = Position(last_looked_at[0], NO_ID)  # all of that moment were looked at
    return Page(rows, cursor_of(following) if following else None, _total(led.order_by(), rest))


def _beyond(ordered: QuerySet[M], at: str, position: Position) -> QuerySet[M]:
    # In two parts: the first is what databases use the index for.
    upto = ordered.filter(**{f"{at}__lte": position.at})
    return upto.filter(Q(**{f"{at}__lt": position.at}) | Q(pk__lt=position.id))


def _total(led: QuerySet[Any], rest: Q) -> int | None:
    count = led[: LOOKED_AT + 1].count()
    if count > LOOKED_AT:
        return None
    return led.filter(rest).count() if rest else count


def cursor_of(position: Position) -> str:
    return signing.dumps([position.at.isoformat(), position.id.hex], salt=SALT)


def position_of(cursor: str) -> Position:
    """Raises Problem for what is no cursor of ours."""
    try:
        at, row_id = signing.loads(cursor, salt=SALT)
        return Position(datetime.fromisoformat(at), UUID(row_id))
    except signing.BadSignature:
        raise Problem.field("cursor", "it is not one of ours, or was cut", code="bad_cursor") from None
