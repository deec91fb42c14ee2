"""What a task wrote before it was ended, in whatever way, is on its branch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.program import Program

from understudy import Orchestrator, Task, TaskHandle, TaskResult
from understudy.actors.tasks.store import TaskStore
from understudy.fakeapi import FakeApiThread

pytestmark = [pytest.mark.podman, pytest.mark.usefixtures("image")]

# What it wrote it removes, once it is told to.
REMOVES = json.dumps([
    {"tool": "Bash", "input": {"command": "echo mine > made; until [ -e go ]; do sleep .1; done"}},
    {"tool": "Bash", "input": {"command": "rm made go"}},
])  # fmt: skip
SCRIPT = json.dumps([{"tool": "Bash", "input": {"command": "echo mine > made; sleep 30"}}])
FLEET = """
import os, sys
from understudy import Orchestrator, Task
with Orchestrator(overrides={"orchestrator.num_agents": 1}) as fleet:
    fleet.submit(Task(task_id="t", description=sys.argv[1], timeout=90, repo=sys.argv[2]))
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def api(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    del home
    with FakeApiThread() as made:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", made.url)
        yield


@pytest.fixture
def repo(repo: Path) -> Path:
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "start")
    return repo


def git(repo: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=repo, capture_output=True, text=True, check=True
    )
    return done.stdout


def state() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "understudy"


def has_written() -> bool:
    return any(state().glob("conversations/live/*/work/made"))


def a_fleet(**settings: Any) -> Orchestrator:  # noqa: ANN401 - any setting
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return Orchestrator(overrides={"orchestrator.num_agents": 1, **named})


def begun(fleet: Orchestrator, repo: Path, until: Callable[..., Any], timeout: int) -> TaskHandle:
    task = Task(task_id="t", description=f"@@ {SCRIPT} @@", timeout=timeout, repo=str(repo))
    handle = fleet.submit(task)
    until(has_written)
    return handle


def is_on_branch(repo: Path, branch: str | None) -> bool:
    assert branch == "understudy/t"
    return git(repo, "show", f"{branch}:made") == "mine\n"


def stored() -> TaskResult | None:
    with TaskStore(state() / "tasks.db") as store:
        return store.result("t")


def nothing_is_left() -> bool:
    return not list((state() / "conversations" / "live").iterdir())


def test_of_a_canceled_task(repo: Path, until: Callable[..., Any]) -> None:
    with a_fleet() as fleet:
        handle = begun(fleet, repo, until, timeout=90)
        handle.cancel()
        result = handle.wait(timeout_s=30)
    assert result.failure_kind == "canceled"
    assert is_on_branch(repo, result.branch)
    assert nothing_is_left()


def test_of_a_task_that_took_too_long(repo: Path, until: Callable[..., Any]) -> None:
    with a_fleet() as fleet:
        result = begun(fleet, repo, until, timeout=15).wait(timeout_s=60)
    assert (result.status, result.failure_kind) == ("timeout", "timeout")
    assert result.result["files_changed"] == ["made"]
    assert is_on_branch(repo, result.branch)


def test_of_a_poisonous_task_as_diff_and_rm_know(
    repo: Path, until: Callable[..., Any], program: Program
) -> None:
    with a_fleet(supervision__max_attempts=1) as fleet:
        handle = begun(fleet, repo, until, timeout=90)
        os.kill(int(fleet.get_agent_status()["agent_000"]["pid"]), signal.SIGKILL)
        assert handle.wait(timeout_s=30).failure_kind == "poison"
        # Nobody is left to tell of it: the sweep finds it.
        result = until(lambda: (found := stored()) and found.branch and found)
        assert is_on_branch(repo, result.branch)
    assert "+mine" in program.run("diff", "t").out
    refused = program.run("rm", "t")
    assert (refused.code, "not merged" in refused.err) == (1, True), refused.err
    assert program.run("merge", "t").code == 0
    assert program.run("rm", "t").code == 0
    assert nothing_is_left()


def test_of_a_task_whose_fleet_was_killed(repo: Path, until: Callable[..., Any]) -> None:
    arguments = [sys.executable, "-c", FLEET, f"@@ {SCRIPT} @@", str(repo)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE) as killed:
        until(has_written)
        killed.kill()
    with a_fleet():
        result = until(lambda: (found := stored()) and found.branch and found)
    assert result.failure_kind == "internal"
    assert is_on_branch(repo, result.branch)
    assert nothing_is_left()


def test_of_a_task_that_removed_it_again(
    repo: Path, until: Callable[..., Any], program: Program
) -> None:
    with a_fleet(storage__save_interval=0.2) as fleet:
        handle = fleet.submit(
            Task(task_id="t", description=f"@@ {REMOVES} @@", timeout=90, repo=str(repo))
        )
        until(lambda: list((state() / "saved").glob("t~*.patch")))
        shown = program.run("diff", "t", "--saved")  # it still runs
        assert "+mine" in shown.out, shown.err
        (work,) = (state() / "conversations" / "live").glob("*/work/made")
        (work.parent / "go").touch()
        assert handle.wait(timeout_s=30).branch is None
    assert program.run("apply", "t", "--saved").code == 0
    assert (repo / "made").read_text() == "mine\n"
    assert program.run("rm", "t").code == 0
    assert not list((state() / "saved").iterdir())
