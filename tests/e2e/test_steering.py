"""`tree`, `restart`, `suspend`, `resume` on the running service."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman

# Longer than the three commands that a test gives meanwhile, on a busy machine too.
SLOW = '@@ [{"delay": 12, "text": "done at last"}] @@'


def tree(program: Program) -> dict[str, Any]:
    return program.run("tree", "--json").json


def node(program: Program, supervisor: str, child: str) -> dict[str, Any]:
    (of,) = (n for n in tree(program)["children"] if n["id"] == supervisor)
    found: dict[str, Any]
    (found,) = (n for n in of["children"] if n["id"] == child)
    return found


def agent(program: Program) -> dict[str, Any]:
    return node(program, "agents", "agent_000")


def lives(program: Program, name: str) -> list[str]:
    """The kinds of events in the log of that agent or service."""
    return [line.split()[3] for line in program.run("logs", name).out.splitlines()]


def test_a_restart_by_request_costs_its_task_no_attempt_and_is_not_counted(
    program: Program, until: Callable[..., Any]
) -> None:
    service = program.serve("--fake", "--agents", "1")
    task_id = program.run("submit", SLOW).out.strip()
    until(lambda: agent(program)["state"] == "busy")
    assert agent(program)["current_task"] == task_id
    done = program.run("restart", "agent_000", "--json").json
    assert (done["ended"], done["incarnation"]) == (1, 2)
    after = tree(program)["children"][1]
    assert after["restarts_in_window"] == 0
    until(lambda: program.run("result", task_id, "--json").code == 0, timeout_s=60)
    assert program.run("result", task_id, "--json").json["attempts"] == 1
    now = agent(program)
    assert (now["incarnation"], now["restarts"], now["last_failure"]) == (2, 0, None)
    kinds = lives(program, "agent_000")
    life = [kind for kind in kinds if kind not in ("started", "progress", "finished")]
    assert life == [
        "starting", "ready", "restart", "exited", "restarting", "starting", "ready",
    ]  # fmt: skip
    assert "restarted by request" in program.run("logs", task_id).out
    was = node(program, "services", "gateway")["pid"]
    assert program.run("restart", "gateway").code == 0
    assert node(program, "services", "gateway")["pid"] != was
    assert lives(program, "gateway")[-1] == "ready"
    near = program.run("restart", "agent_00")
    assert near.code == 2
    assert "did you mean agent_000?" in near.err
    assert program.end(service).code == 0


def test_a_suspended_agent_takes_no_task_until_it_goes_on(
    program: Program, until: Callable[..., Any]
) -> None:
    service = program.serve("--fake", "--agents", "1")
    task_id = program.run("submit", SLOW).out.strip()
    until(lambda: agent(program)["state"] == "busy")
    process = agent(program)["pid"]
    assert program.run("suspend", "agent_000").code == 0
    assert agent(program)["current_task"] == task_id  # it finishes what it has
    assert program.run("suspend", "agent_000", "--now", "--json").json["changed"] is False
    until(lambda: agent(program)["state"] == "ready")
    assert program.run("status", "--json").json["queued"] == 1
    assert agent(program)["suspended"]
    shown = program.run("status").out
    assert "suspended: agent_000" in shown
    assert "gateway" in shown
    assert "ready, suspended" in program.run("tree").out
    assert program.run("resume", "agent_000", "--json").json["changed"]
    until(lambda: program.run("result", task_id, "--json").code == 0, timeout_s=60)
    assert program.run("result", task_id, "--json").json["attempts"] == 1
    assert agent(program)["pid"] == process
    assert {"suspended", "resumed"} <= set(lives(program, "agent_000"))
    assert program.run("suspend", "gateway").code == 2
    assert program.end(service).code == 0


def test_the_tree_tells_why_an_agent_fell_and_when_it_starts_next(
    program: Program, until: Callable[..., Any]
) -> None:
    slow = ["--set", "supervision.backoff_min=25", "--set", "supervision.backoff_max=25"]
    service = program.serve("--fake", "--agents", "1", *slow, "--set", "supervision.period=60")
    os.kill(agent(program)["pid"], signal.SIGKILL)
    until(lambda: agent(program)["state"] == "down")
    fallen = agent(program)
    assert 0 < fallen["next_start_s"] <= 30
    assert fallen["pid"] is None
    assert fallen["last_failure"] == {"kind": "killed", "detail": "killed: ended by signal SIGKILL"}
    supervisor = tree(program)["children"][1]
    rules = {key: supervisor[key] for key in ("intensity", "period_s", "restarts_in_window")}
    assert rules == {"intensity": 3, "period_s": 60.0, "restarts_in_window": 1}
    text = program.run("tree").out
    assert "1 of 3 restarts within 60 s" in text
    assert "next start in" in text
    assert program.run("restart", "agent_000").code == 0  # it need not wait any more
    assert agent(program)["incarnation"] == 2
    assert program.end(service).code == 0
