from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.actors.fleet_places import FleetBase
from understudy.actors.housekeeping import LOCK_NAME, abandon_dead_runs, take_lock
from understudy.actors.incarnation_log import IncarnationLog
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task
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


def test_a_disk_that_fails_does_not_keep_an_agent_from_starting(store: TaskStore) -> None:
    lives = IncarnationLog(store, "service")
    store.close()
    lives.note(ChildEvent("agent_000", "starting", 1))
