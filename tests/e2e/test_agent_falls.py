"""Kill each part of an agent in the middle of a task, and see the task done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults.nemesis import borrowed, shut_down, socket_numbers
from faults.twins import Twins
from faults.victims import all_processes

from understudy import Orchestrator, Task, TaskHandle

pytestmark = pytest.mark.podman

# Two steps say the same: a CLI that is cut off may add an answer to its conversation, or may not.
SLOW = '@@ [{"delay": 2, "text": "done at last"}, {"text": "done at last"}] @@'


@pytest.fixture
def fleet(home: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestrator]:
    del home, image
    monkeypatch.setenv("UNDERSTUDY_GATEWAY__SCRIPTED_MODEL", "true")
    with Orchestrator(overrides={"orchestrator.num_agents": 1}) as made:
        yield made


def in_mid_turn(
    fleet: Orchestrator, until: Callable[..., Any]
) -> tuple[TaskHandle, dict[str, Any]]:
    """A task whose turn has reached the model, and the agent that works on it."""
    handle = fleet.submit(Task(description=SLOW, timeout=60))
    until(lambda: fleet.get_agent_status()["agent_000"]["state"] == "busy")
    agent = fleet.get_agent_status()["agent_000"]
    until(lambda: agent["container_pid"] is None or psutil.pid_exists(agent["container_pid"]))
    return handle, agent


def in_a_command(fleet: Orchestrator) -> tuple[TaskHandle, dict[str, Any]]:
    """A task whose CLI runs a command, which the end of its input does not end."""
    script = '@@ [{"tool":"Bash","input":{"command":"sleep 5"}},{"text":"slept"}] @@'
    handle = fleet.submit(Task(description=script, timeout=60))
    for event in handle.events(timeout_s=60):
        if event.kind == "progress":
            break
    return handle, fleet.get_agent_status()["agent_000"]


def cli_process(container_pid: int) -> psutil.Process:
    """The CLI: the child of the container's init."""
    (cli,) = psutil.Process(container_pid).children()
    return cli


@pytest.mark.parametrize("what", ["agent", "container", "cli"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_task_is_done_after_a_part_of_its_agent_was_killed(
    fleet: Orchestrator, until: Callable[..., Any], what: str, how: signal.Signals
) -> None:
    handle, agent = in_mid_turn(fleet, until)
    victims: dict[str, Callable[[], int]] = {
        "agent": lambda: agent["pid"],
        "container": lambda: agent["container_pid"],
        "cli": lambda: cli_process(agent["container_pid"]).pid,
    }
    os.kill(victims[what](), how)
    result = handle.wait(timeout_s=60)
    assert result.status == "success", result.error
    assert result.result["output"] == "done at last"
    assert result.attempts == 2
    assert fleet.get_agent_status()["agent_000"]["incarnation"] == 2


def test_the_next_incarnation_ends_the_container_that_still_works(
    fleet: Orchestrator, until: Callable[..., Any]
) -> None:
    handle, agent = in_a_command(fleet)
    os.kill(agent["pid"], signal.SIGKILL)
    until(lambda: works_again(fleet), 30.0)
    assert not psutil.pid_exists(agent["container_pid"])
    assert handle.wait(timeout_s=60).status == "success"


def works_again(fleet: Orchestrator) -> bool:
    agent = fleet.get_agent_status()["agent_000"]
    return bool(agent["incarnation"] == 2 and agent["state"] == "busy")


def test_the_gateway_killed_in_mid_turn_does_not_lose_the_task(
    fleet: Orchestrator, until: Callable[..., Any]
) -> None:
    handle, _ = in_mid_turn(fleet, until)
    gateway = fleet.status()["services"]["gateway"]
    os.kill(gateway["pid"], signal.SIGKILL)
    assert handle.wait(timeout_s=60).status == "success"


def test_a_stopped_agent_is_found_hung_and_its_task_done_by_the_next_alone(
    home: Path, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del image
    monkeypatch.setenv("UNDERSTUDY_GATEWAY__SCRIPTED_MODEL", "true")
    settings = {"orchestrator.num_agents": 1, "agent.health_check_interval": 4.0}
    older = frozenset(all_processes())
    with Twins(home, older) as twins, Orchestrator(overrides=settings) as fleet:
        handle, agent = in_a_command(fleet)
        held = os.pidfd_open(agent["pid"])
        os.kill(agent["pid"], signal.SIGSTOP)
        result = handle.wait(timeout_s=60)
        assert (result.status, result.attempts) == ("success", 2)
        now = fleet.get_agent_status()["agent_000"]
        assert now["incarnation"] == 2
        assert "hung" in now["last_failure"]
        log = Path(now["last_failure"].rpartition("its stack is in ")[2])
        assert "Current thread" in log.read_text(encoding="utf-8")
        # Nobody is left who could go on where it stood still.
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(held, signal.SIGCONT)
        os.close(held)
    assert twins.looks
    assert not twins.seen


@pytest.mark.parametrize("which", ["bus", "lifeline"])
def test_an_agent_whose_connection_is_cut_is_followed_by_the_next_which_does_its_task(
    fleet: Orchestrator, until: Callable[..., Any], which: str
) -> None:
    handle, agent = in_mid_turn(fleet, until)
    sockets = socket_numbers(agent["pid"])
    # The first is the one it was born with, the control socket.
    number = sockets[0] if which == "lifeline" else peer_of_the_bus(agent["pid"], sockets)
    assert shut_down(agent["pid"], number)
    result = handle.wait(timeout_s=60)
    assert result.status == "success", result.error
    assert fleet.get_agent_status()["agent_000"]["incarnation"] == 2


def peer_of_the_bus(pid: int, sockets: list[int]) -> int:
    """The one of its sockets that it dialled: it is connected to a path."""
    for number in sockets:
        with borrowed(pid, number) as found:
            if str(found.getpeername()).endswith("bus.sock"):
                return number
    pytest.fail("it has no connection to the bus")


def test_the_last_death_of_a_poisonous_task_does_not_count_against_its_agent(
    home: Path, image: str, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    del home, image
    monkeypatch.setenv("UNDERSTUDY_GATEWAY__SCRIPTED_MODEL", "true")
    settings = {
        "orchestrator.num_agents": 1,
        "supervision.intensity": 2,
        "supervision.period": 120.0,
    }
    with Orchestrator(overrides=settings) as fleet:
        # Each fall adds an answer to the conversation: a step for each.
        steps = ", ".join(['{"delay": 60, "text": "late"}'] * 4)
        handle = fleet.submit(Task(description=f"@@ [{steps}] @@", timeout=90))
        for incarnation in (1, 2, 3):
            until(lambda number=incarnation: is_busy(fleet, number))
            os.kill(cli_process(fleet.get_agent_status()["agent_000"]["container_pid"]).pid, 9)
        assert handle.wait(timeout_s=60).failure_kind == "poison"
        assert fleet.execute_task(Task(description="hello", timeout=60)).status == "success"
        agents = fleet.tree()["children"][1]
        assert agents["restarts_in_window"] == 2
        (agent,) = agents["children"]
        assert (agent["incarnation"], agent["last_failure"]["kind"]) == (4, "crash")


def is_busy(fleet: Orchestrator, incarnation: int) -> bool:
    agent = fleet.get_agent_status()["agent_000"]
    pid = agent["container_pid"]
    at_work = agent["incarnation"] == incarnation and agent["state"] == "busy"
    return bool(at_work and pid and psutil.pid_exists(pid) and psutil.Process(pid).children())
