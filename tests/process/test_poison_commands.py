"""`tasks --poison` and `replay` without a service: the store itself is read and changed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from fakes.program import Program

from understudy.actors.failure import FailureKind
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState


@pytest.fixture
def program(home: Path) -> Program:
    return Program(home, dict(os.environ))


@pytest.fixture
def state(home: Path, program: Program) -> Path:
    """The state folder, with one task in quarantine and one that just failed."""
    del home
    folder = Path(program.env["XDG_STATE_HOME"]) / "understudy"
    with TaskStore(folder / "tasks.db") as store:
        for name, kind in (("poisoned", FailureKind.POISON), ("failed", FailureKind.TIMEOUT)):
            store.add(Task(task_id=name), "service")
            result = TaskResult(name, "agent_000", "failed", {}, "x", failure_kind=kind.value)
            store.finish(result, TaskState.FAILED)
    return folder


def test_poison_is_listed_alone(program: Program, state: Path) -> None:
    del state
    listed = program.run("tasks", "--poison", "--json").json["tasks"]
    assert [(task["task_id"], task["poison"]) for task in listed] == [("poisoned", True)]
    assert "poisoned" in program.run("tasks", "--poison").out


def test_without_a_service_poison_is_put_back_for_the_next_one(
    program: Program, state: Path
) -> None:
    done = program.run("replay", "poison")
    assert (done.code, done.out) == (0, "poisoned runs again\n")
    with TaskStore(state / "tasks.db") as store:
        assert [row.task_id for row in store.unfinished("service")] == ["poisoned"]
    assert "no task is in quarantine" in program.run("tasks", "--poison").err


def test_what_is_no_poison_is_not_put_back(program: Program, state: Path) -> None:
    del state
    done = program.run("replay", "failed", "--json")
    assert (done.code, done.json) == (1, {"task_id": "failed", "replayed": False})
    assert program.run("replay", "nobody").code == 2


def test_a_service_that_is_just_starting_is_not_raced(program: Program, state: Path) -> None:
    with (state / "service.lock").open("a+", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = program.run("replay", "poisoned")
    assert done.code == 3
    assert "another service" in done.err
