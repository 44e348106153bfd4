"""Which requests a fault meets."""

from __future__ import annotations

import pytest

from pools.localcloud.trouble import Call, Fault, Faults, UnknownFault, agent_operation

LIST = Call("list", "GET", "/v2/apps", page=1)
EXEC = Call("agent.exec", "POST", "/api/exec", "sandbox-1")


@pytest.mark.parametrize(
    ("fault", "call", "is_met"),
    [
        ({}, LIST, True),
        ({}, EXEC, False),
        ({"operation": "agent.*"}, EXEC, True),
        ({"operation": "agent.*"}, LIST, False),
        ({"operation": "agent.exec"}, EXEC, True),
        ({"operation": "agent.health"}, EXEC, False),
        ({"operation": "create"}, LIST, False),
        ({"method": "POST"}, LIST, False),
        ({"path": "apps$"}, LIST, True),
        ({"path": "^apps"}, LIST, False),
        ({"operation": "agent.*", "name": "^sandbox-"}, EXEC, True),
        ({"operation": "agent.*", "name": "^other-"}, EXEC, False),
        ({"page": 1}, LIST, True),
        ({"page": 2}, LIST, False),
        ({"probability": 0}, LIST, False),
    ],
)
def test_a_fault_meets_its_kind(fault: dict[str, object], call: Call, is_met: bool):
    assert Fault.read(fault).meets(call) is is_met


def test_skip_counts_before_times():
    fault = Fault.read({"skip": 1, "times": 2})
    assert [fault.meets(LIST) for _ in range(5)] == [False, True, True, False, False]


def test_later_faults_win_where_they_disagree():
    faults = Faults()
    faults.add({"status": 500, "latency_seconds": 1})
    faults.add({"status": 429})
    faults.add({"operation": "create", "status": 418})
    assert faults.befalling(LIST) == {"status": 429, "latency_seconds": 1}


def test_faults_that_are_told_again_keep_their_counts():
    told = Faults()
    told.add({"operation": "agent.exec", "times": 1, "status": 500})
    agents = Faults()
    agents.put_in_force([fault.as_json() for fault in told.active.values()])
    assert agents.befalling(EXEC) == {"status": 500}
    told.add({"operation": "agent.health", "status": 500})
    agents.put_in_force([fault.as_json() for fault in told.active.values()])
    assert agents.befalling(EXEC) == {}
    assert len(agents.active) == 2


@pytest.mark.parametrize("wrong", [{"colour": 1}, {"body": "x"}, {"path": "("}, {"status": "500"}])
def test_a_fault_that_means_nothing_says_which_field(wrong: dict[str, object]):
    with pytest.raises(UnknownFault, match=next(iter(wrong))):
        Fault.read(wrong)


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/health", "agent.health"),
        ("/api/exec", "agent.exec"),
        ("/api/exec/stream", "agent.stream"),
        ("/api/exec/background", "agent.background"),
        ("/api/processes/7/logs", "agent.processes"),
        ("/api/files/content", "agent.files"),
        ("/proxy/5000/x", "agent.proxy"),
        ("/", "agent."),
    ],
)
def test_an_agents_paths_have_operations(path: str, operation: str):
    assert agent_operation(path) == operation
