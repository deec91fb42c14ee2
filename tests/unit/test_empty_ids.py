"""An empty id means no task, also where there is only one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState
from understudy.cli.app import app
from understudy.cli.tasks import UnknownId


@pytest.mark.parametrize(
    "command",
    [("result",), ("logs",), ("replay",), ("approve",), ("deny",), ("answer", "x"), ("cancel",)],
)
def test_an_empty_id_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    with TaskStore(tmp_path / "tasks.db") as store:
        store.add(Task(task_id="only", description="x"), "service")
        store.finish(TaskResult("only", "agent_000", "success", {}), TaskState.COMPLETED)
    options = ["--set", f"storage.state_dir={tmp_path}", "--config", os.devnull]
    done = CliRunner().invoke(app, [command[0], *options, "", *command[1:]])
    assert isinstance(done.exception, UnknownId), done.output
