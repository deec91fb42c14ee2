from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.actors.fleet_places import FleetBase
from understudy.actors.housekeeping import LOCK_NAME, abandon_dead_runs, sweep_places, take_lock
from understudy.actors.incarnation_log import IncarnationLog
from understudy.actors.tasks.rows import Conversation
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState
from understudy.actors.workspace import Workspace
from understudy.supervision import ChildEvent, ExitReason


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TaskStore]:
    with TaskStore(tmp_path / "tasks.db") as opened:
        yield opened


def test_only_tasks_of_dead_embedded_fleets_are_ended(tmp_path: Path, store: TaskStore) -> None:
    for run_id in ("service", "dead", "alive"):
        store.add(Task(task_id=f"of {run_id}"), run_id)
    alive = tmp_path / "runs" / "alive"
    alive.mkdir(parents=True)
    lock = take_lock(alive / LOCK_NAME)
    abandon_dead_runs(FleetBase(tmp_path, tmp_path, tmp_path), store)
    os.close(lock)
    assert [row.task_id for row in store.unfinished()] == ["of service", "of alive"]


def test_each_life_of_a_child_is_on_record_with_its_reason(store: TaskStore) -> None:
    lives = IncarnationLog(store, "service")
    lives.note(ChildEvent("agent_000", "starting", lives.first))
    assert store.incarnations.of("service")[0].ended_at is None
    killed = ExitReason("killed", None, 9, "killed by SIGKILL", None)
    lives.note(ChildEvent("agent_000", "exited", lives.first, killed))
    (life,) = store.incarnations.of("service")
    assert (life.agent_id, life.incarnation) == ("agent_000", 1)
    assert life.reason == "killed: killed by SIGKILL"
    assert IncarnationLog(store, "service").first == 2


def test_a_disk_that_fails_does_not_keep_an_agent_from_starting_and_is_told_once(
    store: TaskStore, caplog: pytest.LogCaptureFixture
) -> None:
    lives = IncarnationLog(store, "service")
    store.close()
    with caplog.at_level("INFO"):
        for number in (1, 2, 3):
            lives.note(ChildEvent("agent_000", "starting", number))
    (told,) = caplog.records
    assert told.levelname == "ERROR"
    assert "starting of agent_000 is not on record: task store" in told.getMessage()
    assert told.exc_info is None


def unfinished(tmp_path: Path, store: TaskStore, *, damaged: bool = False) -> Path:
    """The folder of a task that is over, with a file that nobody has taken out."""
    folder = tmp_path / "conversations" / "live" / Conversation.new().place
    workspace = Workspace(folder)
    workspace.create()
    workspace.baseline()
    workspace.mark("t", 0)
    (workspace.work_dir / "made").write_text("mine\n")
    if damaged:
        (folder / "baseline.git" / "HEAD").unlink()
    store.add(Task(task_id="t"), "service")
    result = TaskResult("t", "none", "failed", {}, "it fell", failure_kind="poison")
    store.finish(result, TaskState.FAILED)
    return folder


def test_work_that_no_agent_could_tell_of_is_put_in_the_result(
    tmp_path: Path, store: TaskStore
) -> None:
    folder = unfinished(tmp_path, store)
    sweep_places(tmp_path / "conversations", store, {})
    result = store.result("t")
    assert result is not None
    assert "+mine" in result.result["diff"]
    assert (result.failure_kind, result.error) == ("poison", "it fell")
    assert not folder.exists()


def test_a_folder_whose_work_cannot_be_read_stays_while_its_task_is_on_record(
    tmp_path: Path, store: TaskStore
) -> None:
    folder = unfinished(tmp_path, store, damaged=True)
    sweep_places(tmp_path / "conversations", store, {})
    assert (folder / "work" / "made").exists()
    store.delete(["t"])
    sweep_places(tmp_path / "conversations", store, {})
    assert not folder.exists()
