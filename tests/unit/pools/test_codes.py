"""Logic reads codes; sentences are for people. Rewording one changes nothing that the product does."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

from pools.models import State
from pools.reasons import CreateCode, EndCode, HoldCode, StepCode
from pools.turn.decisions import Kind
from pools.turn.plan import plan_fleet

from .builders import NOW, app_of, make_fleet, make_sandbox, seconds, wanted_pool

ROOT = Path(__file__).resolve().parents[3]
SENTENCES = {"create_reason", "end_reason", "delete_reason", "stopped_reason", "listing_error", "reason", "message"}
READS = {"startswith", "endswith", "find", "index", "partition", "split", "removeprefix"}


def sources() -> list[Path]:
    files = [
        file for folder in ("pools", "games", "runs", "orchestrator_site") for file in (ROOT / folder).rglob("*.py")
    ]
    return [file for file in files if not {"catalog", "migrations", "localcloud", "sandbox"} & set(file.parts)]


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def questions_to_sentences(tree: ast.AST) -> list[int]:
    """The lines that ask what one of our own sentences says."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in READS and name_of(node.func.value) in SENTENCES:
                found.append(node.lineno)
            found += [node.lineno for each in node.keywords if each.arg and re.search(r"reason__|message__", each.arg)]
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
            is_about_emptiness = any(isinstance(each, ast.Constant) and each.value == "" for each in asked)
            if not is_about_emptiness and any(name_of(each) in SENTENCES for each in asked):
                found.append(node.lineno)
    return found


def test_no_code_asks_what_a_sentence_says():
    asked = {
        str(file.relative_to(ROOT)): lines
        for file in sources()
        if (lines := questions_to_sentences(ast.parse(file.read_text())))
    }
    assert asked == {}


def test_a_decision_carries_the_code_of_what_it_leads_to():
    idle = make_sandbox()
    aged = make_sandbox(ready_at=NOW - seconds(4000), requested_at=NOW - seconds(4030))
    overdue = make_sandbox(State.IN_USE, expires_at=NOW - seconds(5))
    pool = wanted_pool(target_ready=2, max_ready=4, max_concurrent_creates=2)
    codes = {
        (decision.kind, decision.code) for decision in plan_fleet(make_fleet(idle, aged, overdue, pools=(pool,)), NOW)
    }
    assert (Kind.CREATE, CreateCode.DEMAND) in codes
    assert (Kind.EXPIRE, EndCode.EXPIRED) in codes
    quiet = wanted_pool(last_acquired_at=None)
    assert [each.code for each in plan_fleet(make_fleet(idle, pools=(quiet,)), NOW)] == [EndCode.IDLE]
    draining = wanted_pool(mode="draining")
    assert [each.code for each in plan_fleet(make_fleet(idle, pools=(draining,)), NOW)] == [EndCode.DRAINING]
    unlisted = make_fleet(idle, pools=(pool,), apps=None)
    assert {each.code for each in plan_fleet(unlisted, NOW)} == {HoldCode.NOT_TRUSTED}


def test_rewording_what_went_wrong_changes_no_decision():
    creating = make_sandbox(State.CREATING, app_id=None, accepted_at=None, trouble="the cloud said no")
    orphan = app_of(make_sandbox(), id="stray", delete_reason="an operator: a leftover")
    facts = make_fleet(creating, pools=(wanted_pool(),), apps=(orphan,))
    reworded = replace(
        facts,
        sandboxes=(replace(creating, trouble="idle: lost: outdated"),),
        apps=tuple(replace(app, delete_reason=app.delete_reason and "lost: idle:") for app in facts.apps or ()),
    )
    before, after = plan_fleet(facts, NOW), plan_fleet(reworded, NOW)
    assert [(each.kind, each.code) for each in before] == [(each.kind, each.code) for each in after]
    assert StepCode.ORDERED in {each.code for each in after}
