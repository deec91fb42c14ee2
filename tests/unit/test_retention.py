"""What automatic retention keeps: work that nobody has taken over is never removed unasked."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from understudy.actors.housekeeping import not_taken_over, prune
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState
from understudy.cli.app import app

PATCH = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
_YEAR_S = 365 * 24 * 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder without git, with one file."""
    made = tmp_path / "plain"
    made.mkdir()
    (made / "a.txt").write_text("one\n")
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    made = tmp_path / "state" / "saved"
    made.mkdir(parents=True)
    return made


def finish(store: TaskStore, folder: Path, task_id: str, **said: object) -> None:
    """A finished task whose work is in its patch alone."""
    store.add(Task(task_id=task_id, repo=str(folder), description="x"), "service")
    result: dict[str, object] = {"diff": PATCH, "files_changed": ["a.txt"], **said}
    store.finish(TaskResult(task_id, "agent_000", "success", result), TaskState.COMPLETED)


def put_copy(saved: Path, task_id: str) -> Path:
    """An old copy of the task's work in progress."""
    copy = saved / f"{task_id}~1.patch"
    copy.write_text(PATCH)
    then = time.time() - _YEAR_S
    os.utime(copy, (then, then))
    return copy


def run(state: Path, *arguments: str) -> int:
    options = ["--set", f"storage.state_dir={state}", "--config", os.devnull]
    return CliRunner().invoke(app, [arguments[0], *options, *arguments[1:]]).exit_code


def test_a_patch_without_a_branch_stays_until_it_is_applied(
    folder: Path, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with TaskStore(saved.parent / "tasks.db") as store:
        finish(store, folder, "open")
        finish(store, folder, "refused", branch_error="no room")
        finish(store, folder, "nothing", diff="", files_changed=[])
        copy, other = put_copy(saved, "open"), put_copy(saved, "nothing")
        prune(store, [saved], 0.0, now=time.time())
        assert {row.task_id for row in store.tasks()} == {"open", "refused"}
        assert (copy.exists(), other.exists()) == (True, False)
        assert "1 tasks go, they were over 0 days ago: ['nothing']" in caplog.text
        assert run(saved.parent, "apply", "open") == 0
        # Going on with it does not make it anything that could be lost.
        (folder / "a.txt").write_text("three\n")
        assert not_taken_over(store, 0.0) == ["refused"]
        prune(store, [saved], 0.0, now=time.time())
        assert {row.task_id for row in store.tasks()} == {"refused"}
        assert not copy.exists()


def test_what_was_applied_may_be_removed_and_what_was_not_needs_a_flag(
    folder: Path, saved: Path
) -> None:
    with TaskStore(saved.parent / "tasks.db") as store:
        finish(store, folder, "1-applied")
        finish(store, folder, "2-open")
        assert run(saved.parent, "apply", "1-applied") == 0
        (folder / "a.txt").write_text("three\n")
        assert run(saved.parent, "rm", "1-applied") == 0
        assert run(saved.parent, "rm", "2-open") != 0
        assert run(saved.parent, "rm", "--force", "2-open") == 0


def test_a_copy_that_is_not_the_whole_work_is_no_taking_over(folder: Path, saved: Path) -> None:
    with TaskStore(saved.parent / "tasks.db") as store:
        finish(store, folder, "part")
        put_copy(saved, "part")
        assert run(saved.parent, "apply", "part", "--saved") == 0
        assert not_taken_over(store, 0.0) == ["part"]
        (folder / "a.txt").write_text("one\n")
        finish(store, folder, "cut", left_out={"(patch)": "large"}, whole="in a copy")
        put_copy(saved, "cut")
        assert not_taken_over(store, 0.0) == ["part", "cut"]
        assert run(saved.parent, "apply", "cut", "--saved") == 0
        assert not_taken_over(store, 0.0) == ["part"]
