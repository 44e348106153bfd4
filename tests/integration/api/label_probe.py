"""Which runs each filter by labels finds, as JSON: the same on every database."""

import json

import django

django.setup()

from django.conf import settings  # noqa: E402  the apps must be loaded
from django.test import Client  # noqa: E402

from tests.fixtures.web import new_run  # noqa: E402

settings.ALLOWED_HOSTS = ["*"]
settings.ANYONE_MAY_END_RUNS = True
for labels in ({}, {"team": "red", "job": "7"}, {"team": "blue", "7": "x", "3d/a__b": ""}, {"quote.a": "a'b\"c:d ü"}):
    new_run(labels=labels, visitor=next(iter(labels), "none"))
found = {}
for asked in (
    [], ["team"], ["team:red"], ["team:re"], ["team:red", "job:7"], ["team:red", "job:8"], ["7"], ["7:x"], ["0"],
    ["3d/a__b"], ["3d/a__b:"], ["3d/a__b:x"], ["quote.a:a'b\"c:d ü"], ["quote"],
):  # fmt: skip
    answer = Client().get("/api/runs", {"label": asked})
    assert answer.status_code == 200, answer.content
    found[" ".join(asked)] = sorted(" ".join(sorted(run["labels"])) for run in answer.json()["runs"])
print(json.dumps(found))
