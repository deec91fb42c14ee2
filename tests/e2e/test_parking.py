"""Idle agents without containers: what they are woken by, and what they are not harmed by."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.program import Program

from understudy import Orchestrator, Task
from understudy.actors.tasks.store import TaskStore
from understudy.fakeapi import FakeApiThread

pytestmark = pytest.mark.podman

Until = Callable[..., Any]
WRITE = json.dumps([{"tool": "Bash", "input": {"command": "echo FIRST > a"}}, {"text": "1"}])
SCRIPTS: dict[str, Any] = {
    "asks": [
        {"tool": "mcp__bus__ask_agent", "input": {"to": "agent_001", "question": "Q-ANSWER"}},
        {"text": "{{tool_result}}"},
    ],
    "writes": [
        {"tool": "mcp__bus__send_message", "input": {"to": "agent_001", "text": "meet me"}},
        {"text": "written"},
    ],
    "rules": [{"match": "Q-ANSWER", "steps": [{"text": "it is 42"}]}],
}


@pytest.fixture
def api(home: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApiThread]:
    del home, image
    with FakeApiThread(SCRIPTS, bodies=True) as made:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", made.url)
        yield made


def a_fleet(agents: int = 1) -> Orchestrator:
    settings = {"orchestrator.num_agents": agents, "agent.park_after": 0.5}
    return Orchestrator(overrides=settings)


def is_parked(agent: dict[str, Any]) -> bool:
    return agent["state"] == "parked" and agent["container"] is None


def all_parked(fleet: Orchestrator) -> bool:
    return all(map(is_parked, fleet.get_agent_status().values()))


def life(agent_id: str) -> list[str]:
    """What happened to that agent so far, beside its tasks; only one with a container is parked."""
    where = Path(os.environ["XDG_STATE_HOME"]) / "understudy" / "tasks.db"
    with TaskStore(where) as store:
        return [event.kind for event in store.events(agent_id=agent_id) if event.task_id is None]


def containers_of(agents: dict[str, dict[str, Any]]) -> list[str]:
    """The containers of these agents' processes that there are, running or not."""
    found: list[str] = []
    for agent in agents.values():
        owner = f"--filter=label=understudy.owner_pid={agent['pid']}"
        done = subprocess.run(
            ["podman", "ps", "-aq", owner], capture_output=True, text=True, check=True, timeout=60
        )
        found += done.stdout.split()
    return found


def test_a_parked_agent_has_no_container_and_goes_on_in_its_conversation_when_asked_for(
    api: FakeApiThread, until: Until
) -> None:
    with a_fleet() as fleet:
        first = fleet.execute_task(Task(description=f"one @@ {WRITE} @@", timeout=60))
        assert first.status == "success", first.error
        until(lambda: all_parked(fleet))
        assert containers_of(fleet.get_agent_status()) == []
        again = Task(description="two @@ [{}] @@", timeout=60, context_id=first.context_id)
        second = fleet.execute_task(again)
        assert second.status == "success", second.error
        assert second.context_id == first.context_id
        assert "echo FIRST" in json.dumps(api.requests[-1]["body"]["messages"])
        until(lambda: all_parked(fleet))
        third = fleet.execute_task(Task(description="three @@ [{}] @@", timeout=60))
        assert (third.status, third.attempts) == ("success", 1), third.error
        assert third.context_id != first.context_id
        agent = fleet.get_agent_status()["agent_000"]
        assert (agent["incarnation"], agent["restarts"], agent["last_failure"]) == (1, 0, None)


@pytest.mark.usefixtures("api")
def test_a_question_wakes_a_parked_agent_and_so_does_a_message(until: Until) -> None:
    with a_fleet(2) as fleet:
        until(lambda: all_parked(fleet))
        asked = fleet.execute_task(Task(description="@@asks@@", agent="agent_000", timeout=60))
        assert "it is 42" in asked.result["output"], asked.error
        until(lambda: all_parked(fleet))
        told = fleet.execute_task(Task(description="@@writes@@", agent="agent_000", timeout=60))
        assert told.status == "success", told.error
        until(lambda: life("agent_001")[-3:] == ["parked", "woken", "parked"])


@pytest.mark.usefixtures("api")
def test_a_parked_agent_that_is_killed_starts_again_ready_and_parks_again(until: Until) -> None:
    with a_fleet() as fleet:
        until(lambda: all_parked(fleet))
        os.kill(fleet.get_agent_status()["agent_000"]["pid"], signal.SIGKILL)
        once = ["starting", "ready", "parked"]
        until(lambda: life("agent_000") == [*once, "exited", "restarting", *once])
        until(lambda: all_parked(fleet))
        result = fleet.execute_task(Task(description="one @@ [{}] @@", timeout=60))
        assert (result.status, result.attempts) == ("success", 1), result.error


def test_a_service_shows_and_wakes_parked_agents_and_stops_with_them(
    program: Program, until: Until
) -> None:
    service = program.serve("--fake", "--agents", "2", "--set", "agent.park_after=1")

    def status() -> dict[str, dict[str, Any]]:
        agents: dict[str, dict[str, Any]] = program.run("status", "--json").json["agents"]
        return agents

    until(lambda: all(map(is_parked, status().values())))
    assert "parked" in program.run("status").out
    assert "agent_000  parked, incarnation 1" in program.run("tree").out
    assert "parked idle for 1 s" in program.run("logs", "agent_000").out
    audited = program.run("audit", "agent_000")
    assert audited.code == 3
    assert "understudy resume agent_000" in audited.err
    assert program.run("resume", "agent_000").out == "agent_000 makes its container ready\n"
    until(lambda: life("agent_000")[-3:] == ["parked", "woken", "parked"])
    until(lambda: all(map(is_parked, status().values())))
    pids = [agent["pid"] for agent in status().values()]
    assert program.run("stop").code == 0
    assert service.wait(60) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
