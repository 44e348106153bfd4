"""What each code of an error means: where the `type` of a problem leads."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from pools.described import described
from pools.problem_codes import CODES, TABLE, ProblemCode
from pools.problems import Problem, type_of
from pools.schemas import example

router = Router(tags=["errors"])


class ProblemCodeOut(Schema):
    """One code of an error."""

    model_config = example(
        {
            "code": "pool_empty",
            "type": "https://arcade.example.com/api/problems/pool_empty",
            "status": 429,
            "title": "No warm sandbox is ready",
            "remedy": "Ask again after Retry-After; the pool is being filled.",
            "retryable": True,
        }
    )

    code: str
    type: str = Field(description="This entry's own address: `type` of the errors that have the code")
    status: int = Field(description="The HTTP status that it comes with")
    title: str
    remedy: str = Field(description="What to do about it")
    retryable: bool = Field(description="Whether the same request may succeed when it is sent again later")


@router.get(
    "/problems",
    response=list[ProblemCodeOut],
    summary="Every code of an error, and what to do about it",
    openapi_extra=described(links={200: [("get_problem", {"code": "$response.body#/0/code"})]}),
)
def list_problems(request: HttpRequest) -> list[dict[str, Any]]:
    return [_out(each) for each in TABLE]


@router.get(
    "/problems/{code}",
    response=ProblemCodeOut,
    summary="What a code means, and what to do",
    openapi_extra=described("not_found"),
)
def get_problem(request: HttpRequest, code: str) -> dict[str, Any]:
    if code not in CODES:
        raise Problem(404, "There is no such code; /api/problems lists them all.")
    return _out(CODES[code])


def _out(each: ProblemCode) -> dict[str, Any]:
    return {
        "code": each.code,
        "type": type_of(each.code),
        "status": each.status,
        "title": each.title,
        "remedy": each.remedy,
        "retryable": each.is_retryable,
    }
