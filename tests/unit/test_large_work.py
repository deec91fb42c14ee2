"""Work that is too large for a result, and in no commit, is whole in a copy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fakes.repositories import commit_all, git, made

from understudy.actors import diffing
from understudy.actors.housekeeping import sweep_places
from understudy.actors.repository.takeout import Work, WorkRefused
from understudy.actors.saving import Saving
from understudy.actors.tasks.rows import Conversation
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState
from understudy.actors.work import save_work
from understudy.actors.workspace import Workspace

NAMES = ("a", "b")


@pytest.fixture(autouse=True)
def _small_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is 10 MB else."""
    monkeypatch.setattr(diffing, "_limited", partial(_limited, diffing._limited))  # pyright: ignore[reportPrivateUsage]


def _limited(limited: object, patch: bytes, _max_bytes: int) -> tuple[str, int]:
    return limited(patch, 1000)  # type: ignore[operator,no-any-return]


@pytest.fixture
def saving(tmp_path: Path) -> Saving:
    (tmp_path / "saved").mkdir()
    return Saving(tmp_path / "saved", 30.0, 1_000_000)


def ended(root: Path, folder: Path) -> Workspace:
    """A workspace whose task has written more than a result takes."""
    workspace = Workspace(root)
    workspace.create()
    workspace.stage(Task(task_id="t", repo=str(folder)))
    workspace.baseline()
    workspace.mark("t", 0)
    for name in NAMES:
        (workspace.work_dir / name).write_text("mine\n" * 150)
    return workspace


def is_whole(saving: Saving) -> bool:
    (copy,) = saving.copies("t").files()
    return copy.read_text().count("+mine\n") == 300


def test_of_a_task_without_a_repository(tmp_path: Path, saving: Saving) -> None:
    (tmp_path / "plain").mkdir()
    task, result = Task(task_id="t", repo=str(tmp_path / "plain")), TaskResult("t", "a", "x", {})
    save_work(ended(tmp_path / "seat", tmp_path / "plain"), task, result, saving)
    assert result.result["whole"] == "understudy diff t --saved"
    assert is_whole(saving)
    work = Work.of(task, result)
    assert work.is_cut
    with pytest.raises(WorkRefused, match="its patch is cut, as it is large; take the whole"):
        work.apply()


def test_of_a_submodule_beside_a_branch(tmp_path: Path, saving: Saving) -> None:
    made(tmp_path / "library", a="1\n", b="1\n")
    repo = made(tmp_path / "repo", top="1\n")
    git(repo, "submodule", "--quiet", "add", "../library", "lib")
    commit_all(repo)
    workspace = ended(tmp_path / "seat", repo)
    for name in NAMES:
        (workspace.work_dir / "lib" / name).write_text("mine\n" * 150)
        (workspace.work_dir / name).write_text("small\n")
    task, result = Task(task_id="t", repo=str(repo)), TaskResult("t", "a", "x", {})
    save_work(workspace, task, result, saving)
    assert result.branch is not None
    assert is_whole(saving)
    git(repo, "merge", "-q", result.branch)
    assert "in its patch alone" in (Work.of(task, result).loss() or "")


def test_what_a_branch_has_is_not_copied(tmp_path: Path, saving: Saving) -> None:
    repo = made(tmp_path / "repo", top="1\n")
    task, result = Task(task_id="t", repo=str(repo)), TaskResult("t", "a", "x", {})
    save_work(ended(tmp_path / "seat", repo), task, result, saving)
    assert result.branch is not None
    assert "whole" not in result.result
    assert not saving.copies("t").files()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TaskStore]:
    with TaskStore(tmp_path / "tasks.db") as opened:
        yield opened


@pytest.mark.parametrize("has_room", [False, True])
def test_the_sweep_removes_a_folder_once_its_work_is_whole_elsewhere(
    tmp_path: Path, saving: Saving, store: TaskStore, has_room: bool
) -> None:
    if not has_room:
        saving = Saving(saving.folder, 30.0, 100)
    (tmp_path / "plain").mkdir()
    folder = tmp_path / "conversations" / "live" / Conversation.new().place
    ended(folder, tmp_path / "plain")
    store.add(Task(task_id="t"), "service")
    fell = TaskResult("t", "none", "failed", {}, "it fell", failure_kind="timeout")
    store.finish(fell, TaskState.FAILED)
    for _ in range(2):
        sweep_places(tmp_path / "conversations", store, {}, Workspace, saving)
    assert folder.exists() is not has_room
    assert len(saving.copies("t").files()) == has_room
