"""How the service stops: in order, and fast when it is told twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.actors.tasks.store import TaskStore

if TYPE_CHECKING:
    import subprocess

    from fakes.program import Program

pytestmark = pytest.mark.podman

LATE = '@@ [{"delay": 60, "text": "late"}] @@'
FAST_S = 5.0
"""Far below what the first signal gives; it took 1.2 to 1.6 s on two cores with a load of 11."""


def state_of(program: Program) -> Path:
    return Path(program.env["XDG_STATE_HOME"]) / "understudy"


def log_of(program: Program) -> str:
    return (state_of(program) / "logs" / "understudy.log").read_text()


def left_of(program: Program) -> list[Path]:
    """Folders and sockets of runs, and the control socket."""
    sockets = Path(program.env["XDG_RUNTIME_DIR"]) / "understudy"
    folders = [folder for folder in (state_of(program) / "runs", sockets) if folder.exists()]
    control = Path(program.env["UNDERSTUDY_COMMUNICATION__SOCKET_PATH"])
    return [path for folder in folders for path in folder.iterdir()] + [control] * control.exists()


@pytest.fixture
def store(program: Program) -> Iterator[TaskStore]:
    """The service's store."""
    state_of(program).mkdir(parents=True, mode=0o700)
    with TaskStore(state_of(program) / "tasks.db") as made:
        yield made


def both_busy(store: TaskStore) -> bool:
    return [event.kind for event in store.events()].count("started") == 2


def test_it_takes_nothing_more_then_waits_for_turns_then_ends_all_in_reverse_order(
    program: Program, store: TaskStore, until: Callable[..., Any]
) -> None:
    grace = ["--set", "supervision.shutdown_timeout=10"]
    service = program.serve("--fake", "--agents", "2", *grace)
    soon = program.run("submit", '@@ [{"delay": 1, "text": "in time"}] @@').out.strip()
    late = program.run("submit", LATE).out.strip()
    until(lambda: both_busy(store))
    service.send_signal(signal.SIGTERM)
    until(lambda: "nothing more is taken" in log_of(program))
    assert program.run("submit", "too late").code == 3
    assert program.end(service, 0).code == 0
    ends = [
        (event.task_id or event.agent_id, event.kind)
        for event in store.events()
        if event.kind in ("finished", "exited")
    ]
    assert ends == [
        (soon, "finished"),
        ("agent_001", "exited"),
        ("agent_000", "exited"),
        ("gateway", "exited"),
        ("scripted_model", "exited"),
    ]
    parked = store.row(late)
    assert parked is not None
    assert (parked.state, parked.deaths, store.attempts(late)[-1].outcome) == (
        "submitted", 0, "parked",
    )  # fmt: skip
    assert left_of(program) == []
    assert log_of(program).rstrip().endswith("stopped")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_fast_and_leaves_nothing(
    program: Program, store: TaskStore, until: Callable[..., Any], second: signal.Signals
) -> None:
    grace = ["--set", "supervision.shutdown_timeout=60"]
    service = program.serve("--fake", "--agents", "2", *grace)
    tasks = [program.run("submit", LATE).out.strip() for _ in range(2)]
    until(lambda: both_busy(store))
    # One that cannot hear any more, too.
    os.kill(program.run("status", "--json").json["agents"]["agent_001"]["pid"], signal.SIGSTOP)
    service.send_signal(signal.SIGTERM)
    until(lambda: "nothing more is taken" in log_of(program))
    took_s = seconds_to_end(program, service, second)
    assert took_s < FAST_S
    rows = [store.row(task_id) for task_id in tasks]
    assert [(row.state, row.deaths) for row in rows if row] == [("submitted", 0)] * 2
    assert left_of(program) == []


def test_a_second_ctrl_c_does_not_wait_for_an_agent_that_does_not_hear(
    program: Program, store: TaskStore, until: Callable[..., Any]
) -> None:
    command = program.start("run", LATE, "--fake", "--agents", "1")
    until(lambda: "started" in [event.kind for event in store.events()])
    ready = next(e for e in store.events(agent_id="agent_000") if e.kind == "ready")
    os.kill(int(ready.text.rpartition(" ")[2]), signal.SIGSTOP)
    command.send_signal(signal.SIGINT)
    # Another signal: two of one kind at one moment would be one.
    assert seconds_to_end(program, command, signal.SIGTERM, code=130) < FAST_S
    assert left_of(program) == []


def seconds_to_end(
    program: Program, process: subprocess.Popen[str], how: signal.Signals, code: int = 0
) -> float:
    began = time.monotonic()
    assert program.end(process, how).code == code
    return time.monotonic() - began
