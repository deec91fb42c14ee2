from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman


def test_a_submitted_task_is_done_by_the_service_and_its_result_found(
    program: Program, until: Callable[..., Any]
) -> None:
    service = program.serve("--fake", "--agents", "2")
    submitted = program.run("submit", "Review it", "--type", "code_review", "-f", "shop/cart.py")
    task_id = submitted.out.strip()
    until(lambda: program.run("result", task_id, "--json").code == 0)
    status = program.run("status", "--json").json
    assert set(status["agents"]) == {"agent_000", "agent_001"}
    assert program.run("status").code == 0
    followed = program.run("logs", "-f", task_id)
    assert "finished" in followed.out
    assert program.run("stop").code == 0
    assert service.wait(30) == 0
    program.end(service)


def test_run_uses_the_service_when_one_is_up(program: Program) -> None:
    service = program.serve("--fake", "--agents", "1")
    done = program.run("run", "Review it", "--type", "code_review", "-f", "shop/cart.py")
    assert done.code == 0, done.err
    assert "the running service" in done.err
    assert "--embedded" not in done.err
    done = program.run("run", "Say hello", "--set", "agent.max_turns=7")
    assert done.code == 0, done.err
    assert "its settings count, not --set and --config" in done.err
    assert program.end(service).code == 0


def test_without_a_service_the_commands_that_need_one_say_how_to_start_it(
    program: Program,
) -> None:
    for command in (
        ["status"], ["stop"], ["submit", "x"], ["cancel", "x"], ["tree"], ["restart", "x"],
        ["suspend", "x"], ["resume", "x"],
    ):  # fmt: skip
        done = program.run(*command)
        assert done.code == 3
        assert "understudy serve" in done.err


def test_a_running_task_is_canceled(program: Program, until: Callable[..., Any]) -> None:
    service = program.serve("--fake", "--agents", "1")
    task_id = program.run("submit", '@@ [{"delay": 120, "text": "late"}] @@').out.strip()
    until(lambda: program.run("status", "--json").json["running"] == 1)
    assert program.run("cancel", task_id).code == 0
    until(lambda: program.run("result", task_id, "--json").out)
    assert program.run("result", task_id, "--json").json["failure_kind"] == "canceled"
    again = program.run("cancel", task_id)
    assert again.code == 1
    assert program.end(service).code == 0


def test_tasks_survive_sigterm_and_run_in_the_next_service(
    program: Program, until: Callable[..., Any]
) -> None:
    options = ["--fake", "--agents", "1", "--set", "supervision.shutdown_timeout=1"]
    service = program.serve(*options)
    slow = '@@ [{"delay": 12, "text": "slow one done"}] @@'
    first = program.run("submit", slow).out.strip()
    second = program.run("submit", "say hello").out.strip()
    until(lambda: program.run("status", "--json").json["running"] == 1)
    assert program.end(service, signal.SIGTERM).code == 0
    states = {t["task_id"]: t["state"] for t in program.run("tasks", "--json").json["tasks"]}
    assert states == {first: "submitted", second: "submitted"}
    service = program.serve(*options)
    until(lambda: program.run("result", second, "--json").code == 0, timeout_s=60)
    assert program.run("result", first, "--json").json["attempts"] == 2
    assert program.end(service).code == 0


def test_a_killed_service_loses_no_task_and_leaves_no_container(
    program: Program, until: Callable[..., Any]
) -> None:
    service = program.serve("--fake", "--agents", "1")
    # A CLI that goes on after a prompt without an answer puts one in itself, which is a step.
    step = '{"delay": 3, "text": "slow one done"}'
    task_id = program.run("submit", f"@@ [{step}, {step}] @@").out.strip()
    until(lambda: program.run("status", "--json").json["running"] == 1)
    children = psutil.Process(service.pid).children(recursive=True)
    service.kill()
    service.communicate(timeout=30)
    until(lambda: not any(child.is_running() for child in children), timeout_s=10)
    service = program.serve("--fake", "--agents", "1")
    until(lambda: program.run("result", task_id, "--json").code == 0)
    assert program.run("result", task_id, "--json").json["result"]["output"] == "slow one done"
    assert program.end(service).code == 0


def test_a_task_in_flight_at_three_deaths_of_the_service_is_kept_back_until_it_is_put_back(
    program: Program, until: Callable[..., Any]
) -> None:
    starts: list[int] = []

    def serve() -> subprocess.Popen[str]:
        service = program.serve("--fake", "--agents", "1")
        starts.append(program.run("status", "--json").json["agents"]["agent_000"]["incarnation"])
        return service

    service = serve()
    # Longer than two commands and a kill take on a busy machine; each start may take up a step.
    step = '{"delay": 12, "text": "at last"}'
    task_id = program.run("submit", f"@@ [{', '.join([step] * 5)}] @@").out.strip()
    for _ in range(3):
        until(lambda: program.run("status", "--json").json["running"] == 1)
        children = psutil.Process(service.pid).children(recursive=True)
        service.kill()
        service.communicate(timeout=30)
        assert not psutil.wait_procs(children, timeout=10)[1]
        service = serve()
    assert starts == [1, 2, 3, 4]
    (kept,) = program.run("tasks", "--poison", "--json").json["tasks"]
    assert (kept["task_id"], kept["state"], kept["deaths"]) == (task_id, "failed", 3)
    assert program.run("result", task_id, "--json").json["failure_kind"] == "poison"
    assert program.run("replay", task_id[:8]).code == 0
    until(lambda: program.run("result", task_id, "--json").code == 0, timeout_s=60)
    assert program.run("tasks", "--poison", "--json").json["tasks"] == []
    assert program.end(service).code == 0


def test_ten_thousand_tasks_at_once_are_all_taken_or_all_refused(
    program: Program, home: Path
) -> None:
    service = program.serve("--fake", "--agents", "1")
    script = (
        "import os, sys; from understudy import Task\n"
        "from understudy.control import ServiceClient\n"
        "client = ServiceClient(os.environ['UNDERSTUDY_COMMUNICATION__SOCKET_PATH'])\n"
        "tasks = [Task(description=str(n)).to_wire() for n in range(10_000)]\n"
        "try:\n    client.call('submit', tasks=tasks)\n"
        "except Exception as error: print(error)\n"
        "client.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=program.env, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert "queue is full" in done.stdout
    assert program.run("tasks", "--json").json["tasks"] == []
    assert program.end(service).code == 0
    service = program.serve("--fake", "--agents", "1", "--set", "task_queue.max_size=10000")
    subprocess.run(
        [sys.executable, "-c", script], env=program.env, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    listed = program.run("tasks", "--limit", "100000", "--json").json["tasks"]
    assert len(listed) == 10_000
    assert program.end(service).code == 0
    del home


@pytest.mark.parametrize("after_s", [0.0, 0.2, 0.5, 0.9, 1.5])
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_at_any_moment_leaves_nothing_behind(
    program: Program, until: Callable[..., Any], after_s: float, times: int
) -> None:
    command = program.start("run", '@@ [{"delay": 60, "text": "late"}] @@', "--fake", "--json")
    # What Python says of a signal before it runs the first line of ours is its own matter.
    until(lambda: catches(command.pid, signal.SIGTERM))
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(after_s)
    if times == 2:
        command.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(0.1)
    done = program.end(command, signal.SIGINT)
    # Python may end by the signal itself, which a shell calls 130 too.
    assert done.code in (130, -signal.SIGINT)
    if done.out:
        assert json.loads(done.out)["exit_code"] == 130
    assert left_over(program) == []


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether that process has a handler for the signal (man 5 proc, `SigCgt`)."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def left_over(program: Program) -> list[Path]:
    """Folders of runs that are over."""
    runs = Path(program.env["XDG_STATE_HOME"]) / "understudy" / "runs"
    sockets = Path(program.env["XDG_RUNTIME_DIR"]) / "understudy"
    return [path for folder in (runs, sockets) if folder.exists() for path in folder.iterdir()]


def test_the_tasks_of_a_killed_run_end_with_the_next(
    program: Program, until: Callable[..., Any]
) -> None:
    command = program.start("run", '@@ [{"delay": 60, "text": "late"}] @@', "--fake")
    until(lambda: states(program) == ["working"])
    command.kill()
    command.communicate(timeout=30)
    # Its tasks end at once; its folders go some seconds after they were made.
    until(lambda: program.run("run", "hello", "--fake").code == 0 and left_over(program) == [])
    assert "failed" in states(program)
    assert "working" not in states(program)


def states(program: Program) -> list[str]:
    return [task["state"] for task in program.run("tasks", "--json").json["tasks"]]
