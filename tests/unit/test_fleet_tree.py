from __future__ import annotations

from typing import Any

from understudy.actors.fleet_tree import fleet_tree
from understudy.actors.roster import Roster, ServiceRecord
from understudy.outline import Branch, draw
from understudy.supervision import ChildEvent, ChildState, ChildStatus, ExitReason, SupervisorStatus
from understudy.tree_view import tree_lines


def status(roster: Roster) -> dict[str, Any]:
    return {
        "agents": {agent.agent_id: agent.to_status() for agent in roster.all()},
        "services": {},
        "queued": 2,
        "running": 1,
        "stale_messages": 4,
        "stopping": None,
        "problem": None,
    }


def report(*children: ChildStatus) -> SupervisorStatus:
    return SupervisorStatus("agents", "one_for_one", 3, 5.0, 1, children)


def test_the_tree_joins_what_the_root_and_the_supervisors_know() -> None:
    roster = Roster(["agent_000", "agent_001"])
    busy, down = roster["agent_000"], roster["agent_001"]
    busy.state, busy.task_id, busy.container, busy.container_pid = "busy", "t1", "box", 9
    down.starts(2)
    down.crash_kind, down.last_failure = "oom", "no memory"
    down.fell(ExitReason("crash", 1))
    one = ChildStatus("agent_000", ChildState.READY, 1, 0, 7, None)
    two = ChildStatus("agent_001", ChildState.WAITING, 2, 1, None, None, 1, 3.25)
    tree = fleet_tree(status(roster), {"services": None, "agents": report(one, two)}, 5)
    assert tree["children"][0]["state"] == "unknown"
    first, second = tree["children"][1]["children"]
    assert (first["state"], first["pid"], first["current_task"]) == ("busy", 7, "t1")
    assert (second["state"], second["next_start_s"]) == ("down", 3.25)
    assert second["last_failure"] == {"kind": "oom", "detail": "oom: no memory"}
    text = "\n".join(tree_lines(tree))
    assert "agents  supervisor one_for_one, 1 of 3 restarts within 5 s" in text
    assert "agent_000  busy, incarnation 1, pid 7, task t1" in text
    assert "box  pid 9" in text
    assert "agent_001  down, next start in 3.2 s, incarnation 2" in text
    assert "last failure (oom): oom: no memory" in text
    assert "4 messages of ended incarnations dropped" in text


def test_an_end_that_was_asked_for_is_no_failure() -> None:
    agent = Roster(["agent_000"])["agent_000"]
    agent.fell(ExitReason("shutdown", 0))
    assert agent.last_failure is None


def test_a_service_is_known_by_its_events() -> None:
    record = ServiceRecord()
    record.note(ChildEvent("gateway", "ready", 1, info={"pid": 4}))
    assert (record.state, record.pid) == ("ready", 4)
    record.note(ChildEvent("gateway", "exited", 1, ExitReason("killed", None, 9, "SIGKILL")))
    record.note(ChildEvent("gateway", "restarting", 1, delay_s=0.2))
    assert (record.state, record.pid, record.restarts) == ("down", None, 1)
    assert (record.last_failure_kind, record.last_failure) == ("killed", "killed: SIGKILL")


def test_a_tree_is_drawn_with_its_notes() -> None:
    top = Branch("top", ["note"], [Branch("a", ["of a"], [Branch("b")]), Branch("c", ["of c"])])
    assert list(draw(top)) == [
        "top",
        "│    note",
        "├─ a",
        "│  │    of a",
        "│  └─ b",
        "└─ c",
        "        of c",
    ]


def test_who_waits_for_whom_stands_below_the_one_who_waits() -> None:
    wait = {"agent_id": "agent_000", "what": "ask_agent", "for_task": "0123456789", "waited_s": 2.2}
    told = status(Roster(["agent_000", "agent_001"]))
    told["waits"] = [{**wait, "on": ["agent_001"]}, {**wait, "agent_id": "agent_001", "on": []}]
    both = [ChildStatus(name, ChildState.READY, 1, 0, 7, None) for name in told["agents"]]
    tree = fleet_tree(told, {"agents": report(*both)}, 5)
    text = "\n".join(tree_lines(tree))
    assert "waits for agent_001 (ask_agent 01234567, 2 s)" in text
    assert "waits for nobody" in text
