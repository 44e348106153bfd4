"""Each list of the admin as CSV and as JSON: the rows that its filters and search leave, a portion at a time.

Columns are named one by one, so that nothing leaves by being added to a table.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import close_old_connections
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import URLPattern, path

PORTION = 1_000  # rows a statement
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # with which a spreadsheet would begin to calculate
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
_threads = ThreadPoolExecutor(2, thread_name_prefix="export")

Row = Mapping[str, Any]

if TYPE_CHECKING:  # generic for the checker only
    Base = admin.ModelAdmin[Any]
else:
    Base = admin.ModelAdmin


class Exporting(Base):
    """`exported`: the columns, as lookups; none for a list that is not exported. `exported_by`: the field whose order
    the rows come in, descending, which is to have an index."""

    exported: Sequence[str] = ()
    exported_by: str = "pk"

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export_view)
        return [path("export.<str:kind>", view, name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponse | StreamingHttpResponse:
        """All rows of the list as it is filtered."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if kind not in TYPES or not self.exported:
            raise Http404
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponse("The filter is none that this list has.", status=400, content_type="text/plain")
        portions = portions_of(rows, self.exported, self.exported_by)
        return streamed(request, portions, self.exported, kind, str(self.opts.model_name))


def portions_of(rows: QuerySet[Any], columns: Sequence[str], by: str) -> Iterator[list[Row]]:
    """The rows, newest first; each portion asks for those beyond the last one, so that none holds the database."""
    ordered = rows.select_related(None).prefetch_related(None).order_by(f"-{by}", "-pk")
    names = list(dict.fromkeys([*columns, by, "pk"]))
    beyond = Q()
    while True:
        found = list(ordered.filter(beyond).values_list(*names)[:PORTION])
        if not found:
            return
        yield [dict(zip(names, row, strict=True)) for row in found]
        last = dict(zip(names, found[-1], strict=True))
        before = Q(**{f"{by}__lt": last[by]})
        # Bounded first, so that an index leads to the next portion.
        beyond = before
        if by != "pk":
            beyond = Q(**{f"{by}__lte": last[by]}) & (before | Q(**{by: last[by], "pk__lt": last["pk"]}))


def streamed(
    request: HttpRequest, portions: Iterator[list[Row]], columns: Sequence[str], kind: str, name: str
) -> StreamingHttpResponse:
    """An answer that is sent as the rows are read."""
    write = {"csv": as_csv, "json": as_json}[kind]
    texts = write(portions, [column.replace("__", "_") for column in columns], columns)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"', "Cache-Control": "private, no-store"}
    content = _in_thread(texts) if isinstance(request, ASGIRequest) else texts
    return StreamingHttpResponse(content, content_type=TYPES[kind], headers=headers)


def as_csv(portions: Iterable[list[Row]], titles: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    """As spreadsheets read it (RFC 4180); what they would take for a formula begins with an apostrophe."""
    yield _line(titles)
    for rows in portions:
        yield "".join(_line([_cell(row[column]) for column in columns]) for row in rows)


def as_json(portions: Iterable[list[Row]], titles: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    """An array of objects, each on a line of its own."""
    before = "[\n"
    for rows in portions:
        told = [{title: row[column] for title, column in zip(titles, columns, strict=True)} for row in rows]
        yield before + ",\n".join(json.dumps(each, cls=DjangoJSONEncoder, ensure_ascii=False) for each in told)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, dict | list):
        return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    text = value if isinstance(value, str) else json.dumps(value, cls=DjangoJSONEncoder).strip('"')
    return f"'{text}" if text.startswith(FORMULA) else text


async def _in_thread(texts: Iterator[str]) -> AsyncIterator[str]:
    """Read in a thread: under ASGI an answer that is read in the event loop would be sent only once it is whole."""
    loop = asyncio.get_running_loop()
    while (text := await loop.run_in_executor(_threads, _next, lambda: next(texts, None))) is not None:
        yield text


def _next(read: Callable[[], str | None]) -> str | None:
    close_old_connections()
    try:
        return read()
    finally:
        close_old_connections()
