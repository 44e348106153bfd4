"""A check of schemathesis's: an error has one of the codes that the schema names for its status."""

from __future__ import annotations

from typing import Any

import schemathesis

PROBLEM = "application/problem+json"
FIRST_ERROR = 400


@schemathesis.check
def code_is_documented(_context: Any, response: Any, case: Any) -> None:
    responses = case.operation.definition.raw["responses"]
    content = responses.get(str(response.status_code), {}).get("content", {})
    if response.status_code < FIRST_ERROR or PROBLEM not in content:
        return
    code = response.json()["code"]
    known = sorted(content[PROBLEM]["examples"])
    assert code in known, f"the code is {code}, and the schema knows {known}"
