from __future__ import annotations

import os
import runpy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy import (
    Agent2AgentProtocol,
    AgentConfig,
    ClaudeCodeWrapper,
    Orchestrator,
    Task,
    TaskState,
    UnixSocketChannel,
)

pytestmark = pytest.mark.podman


@pytest.fixture
def scripted(home: Path, repo: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    del home, image
    monkeypatch.setenv("UNDERSTUDY_GATEWAY__SCRIPTED_MODEL", "true")
    monkeypatch.chdir(repo)


@pytest.fixture
def fleet(scripted: None) -> Iterator[Orchestrator]:
    del scripted
    with Orchestrator(overrides={"orchestrator.num_agents": 2}) as made:
        yield made


@pytest.mark.usefixtures("scripted")
def test_a_started_orchestrator_shows_its_agent_running() -> None:
    orchestrator = Orchestrator()
    orchestrator.config["num_agents"] = 1
    orchestrator.start()
    status = orchestrator.get_agent_status()
    assert len(status) == 1
    assert next(iter(status.values()))["running"] is True
    orchestrator.stop()


@pytest.mark.usefixtures("scripted")
def test_a_simple_task_has_a_result_of_its_own_id() -> None:
    orchestrator = Orchestrator()
    orchestrator.config["num_agents"] = 1
    orchestrator.start()
    task = Task(task_type="generic", description="echo 'Hello, World!'")
    result = orchestrator.execute_task(task)
    assert result.status in ["success", "failed"]
    assert result.task_id == task.task_id
    assert orchestrator.get_task_result(task.task_id) == result
    orchestrator.stop()


def test_a_container_lives_as_long_as_its_wrapper(home: Path, image: str, tmp_path: Path) -> None:
    del home, image
    work = tmp_path / "workspace"
    work.mkdir()
    config = AgentConfig(
        agent_id="test_001", container_name="test_container_001", work_dir=str(work)
    )
    with ClaudeCodeWrapper(config) as wrapper:
        result = wrapper.exec_in_container("echo 'Container is running'")
        assert result.exit_code == 0
        assert "Container is running" in result.stdout


@pytest.mark.usefixtures("scripted")
def test_the_example_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[2] / "examples" / "review_in_parallel.py"
    Path("examples").mkdir()
    Path("examples/sample_code.py").write_text((example.parent / "sample_code.py").read_text())
    runpy.run_path(str(example), run_name="__main__")
    out = capsys.readouterr().out
    assert "Result: success" in out
    assert "Completed 2 subtasks" in out
    assert "frontend/app.js" in out  # its files are missing, and it says so
    assert "agent_001: running=True" in out


def test_more_subtasks_than_agents_are_all_done_in_their_order(fleet: Orchestrator) -> None:
    parts = [{"description": f"say {number}"} for number in range(5)]
    task = Task(description="all", parallel=True, subtasks=parts)
    results = fleet.execute_parallel_task(task)
    assert [result.task_id for result in results] == [f"{task.task_id}_sub{n}" for n in range(5)]
    assert [result.status for result in results] == ["success"] * 5


def test_a_handle_shows_what_happens_until_the_end(fleet: Orchestrator) -> None:
    handle = fleet.submit(Task(description="say hello"))
    kinds = [event.kind for event in handle.events(timeout_s=60)]
    assert kinds[:2] == ["queued", "started"]
    assert kinds[-1] == "finished"
    assert handle.done()
    assert handle.state is TaskState.COMPLETED
    assert handle.cancel() is False


def test_a_message_on_the_bus_that_nobody_takes_is_counted(
    fleet: Orchestrator, until: Callable[..., Any]
) -> None:
    assert fleet.status()["dead_letters"] == {}
    (bus,) = Path(os.environ["XDG_RUNTIME_DIR"]).glob("**/bus.sock")
    with UnixSocketChannel(str(bus), name="guest", incarnation=1) as channel:
        protocol = Agent2AgentProtocol("guest", channel)
        protocol.send_task_request("nobody", {"task": "x"})
        until(lambda: fleet.status()["dead_letters"])
    assert fleet.status()["dead_letters"] == {"unknown": 1}


def test_waiting_has_a_limit_and_the_task_goes_on(fleet: Orchestrator) -> None:
    handle = fleet.submit(Task(description='@@ [{"delay": 2, "text": "done"}] @@'))
    with pytest.raises(TimeoutError, match="it goes on"):
        handle.wait(timeout_s=0.2)
    assert handle.wait(timeout_s=60).result["output"] == "done"


def test_a_running_task_is_canceled_within_moments(fleet: Orchestrator) -> None:
    handle = fleet.submit(Task(description='@@ [{"delay": 120, "text": "late"}] @@'))
    for event in handle.events(timeout_s=60):
        if event.kind == "started":
            break
    began = time.monotonic()
    assert handle.cancel()
    assert handle.wait(timeout_s=30).failure_kind == "canceled"
    assert time.monotonic() - began < 10


def test_files_of_one_base_name_keep_their_folders(fleet: Orchestrator, repo: Path) -> None:
    for folder in ("a", "b"):
        (repo / folder).mkdir()
        (repo / folder / "same.txt").write_text(f"from {folder}\n")
    script = (
        '@@ [{"tool":"Bash","input":{"command":"cat a/same.txt b/same.txt"}},'
        '{"text":"{{tool_result}}"}] @@'
    )
    result = fleet.execute_task(Task(description=script, files=["a/same.txt", "b/same.txt"]))
    assert result.result["output"].split() == ["from", "a", "from", "b"]
