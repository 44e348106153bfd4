"""Only `runs/lifecycle.py` writes a run: its state, its sandbox, its lease, its end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
DOOR = Path("runs/lifecycle.py")
# The number of a run's last line is taken with the line; deliveries have a state, too.
OTHERS = {
    Path("runs/events.py"): {"last_seq"},
    Path("runs/webhooks/outbox.py"): {"state"},
    Path("runs/webhooks/subscriptions.py"): {"state"},
}
OF_A_RUN = {
    "state", "sandbox", "sandbox_id", "served_by", "notice", "notice_code", "port", "deployed_from", "extensions",
    "deploy_attempts", "deploy_lease_until", "deploy_process", "acquired_at", "ready_at", "expires_at", "ended_at",
    "end_code", "end_reason", "warned_of",
}  # fmt: skip
WRITES = {
    "update", "create", "get_or_create", "update_or_create", "bulk_create", "bulk_update", "aupdate", "acreate",
    "move", "save", "delete", "adelete",
}  # fmt: skip


def written_outside(source: str, but: frozenset[str] | set[str] = frozenset()) -> Iterator[str]:
    """Each place of a module of the runs that writes a run, as line and what is written."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
            names = {keyword.arg or "**" for keyword in node.keywords} - but
            if names & OF_A_RUN or ("Run.objects" in ast.unparse(node.func) and node.keywords and names):
                yield f"{node.lineno} {node.func.attr} {' '.join(sorted(names))}"
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Attribute) and target.attr in OF_A_RUN and ast.unparse(target.value) != "self":
                yield f"{node.lineno} sets {ast.unparse(target)}"


def modules(folder: str) -> list[Path]:
    found = [path.relative_to(CHECKOUT) for path in (CHECKOUT / folder).rglob("*.py")]
    return [path for path in found if path != DOOR and "migrations" not in path.parts]


def test_no_other_module_of_the_runs_writes_a_run():
    found = {
        str(path): places
        for path in modules("runs")
        if (places := list(written_outside((CHECKOUT / path).read_text(), OTHERS.get(path, set()))))
    }
    assert found == {}


@pytest.mark.parametrize("folder", ["pools", "games", "orchestrator_site"])
def test_nobody_else_knows_who_deploys_a_run(folder: str):
    lease = ("deploy_attempts", "deploy_lease_until", "deploy_process", "Run.objects.filter", "Run.objects.update")
    for path in modules(folder):
        text = (CHECKOUT / path).read_text()
        assert not [name for name in lease if name in text], path


@pytest.mark.parametrize(
    "line",
    [
        "Run.objects.filter(pk=1).update(state='ended')",
        "waiting.update(deploy_lease_until=None)",
        "Run.objects.filter(pk=1).update(**fields)",
        "Run.objects.create(game=game)",
        "run.sandbox = None",
        "run.state: str = 'ended'",
    ],
)
def test_each_way_around_the_door_is_seen(line: str):
    assert list(written_outside(line))
