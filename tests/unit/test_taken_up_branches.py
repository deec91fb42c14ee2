"""The branch of a task that went on in folders that another process had made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.actors.repository.publish import About, Published
from understudy.actors.tasks.task import Task
from understudy.actors.workspace import Workspace, WorkspaceError

ABOUT = About("task-1", "refactor", "agent_000", "Do it", 1_700_000_000)


def git(repo: Path, *arguments: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(repo), "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "safe.directory=*")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=repo, env=env, capture_output=True, check=True
    )
    return os.fsdecode(done.stdout).rstrip("\n")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit of a.py, b.py and c.py."""
    made = tmp_path / "repo"
    made.mkdir()
    for name in "abc":
        (made / f"{name}.py").write_text(f"{name} = 1\n")
    git(made, "init", "-q")
    git(made, "add", "-A")
    git(made, "commit", "-q", "-m", "start")
    return made


def begun(root: Path, task: Task) -> Workspace:
    workspace = Workspace(root)
    workspace.create()
    workspace.stage(task)
    workspace.baseline()
    return workspace


def taken_up(root: Path) -> Workspace:
    workspace = Workspace(root)
    workspace.take_up()
    return workspace


def published(workspace: Workspace) -> Published | None:
    workspace.diff()
    return workspace.publish(ABOUT)


def changed(repo: Path, revision: str | None) -> list[str]:
    assert revision is not None
    told = git(repo, "show", "--format=", "--name-status", "--no-renames", revision)
    return told.replace("\t", " ").splitlines()


def test_the_work_is_on_top_of_what_the_first_process_found(tmp_path: Path, repo: Path) -> None:
    start = git(repo, "rev-parse", "HEAD")
    (repo / "a.py").write_text("a = 0\n")
    (repo / "c.py").unlink()
    begun(tmp_path / "place", Task(repo=str(repo)))
    (repo / "later.py").write_text("the user goes on\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "later")
    (tmp_path / "place" / "work" / "a.py").write_text("a = 2\n")
    made = published(taken_up(tmp_path / "place"))
    assert made is not None
    assert changed(repo, made.commit) == ["M a.py"]
    assert changed(repo, made.base) == ["M a.py", "D c.py"]
    assert git(repo, "rev-parse", f"{made.base}^") == start


def test_the_users_removals_of_committed_files_are_known_again(tmp_path: Path, repo: Path) -> None:
    names = os.fsdecode(b"n\xff.py"), "c.py"
    (repo / names[0]).write_text("n\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "odd")
    for name in names:
        (repo / name).unlink()
    begun(tmp_path / "place", Task(repo=str(repo)))
    (tmp_path / "place" / "work" / "a.py").write_text("a = 2\n")
    made = published(taken_up(tmp_path / "place"))
    assert made is not None
    assert changed(repo, made.base) == ["D c.py", 'D "n\\377.py"']


@pytest.mark.parametrize("from_disk", [True, False])
def test_a_follow_up_has_the_earlier_work_in_the_commit_before_its_own(
    tmp_path: Path, repo: Path, from_disk: bool
) -> None:
    task = Task(repo=str(repo), include_uncommitted=from_disk)
    work = begun(tmp_path / "place", task).work_dir
    (work / "a.py").write_text("a = 2\n")
    (work / "b.py").unlink()
    workspace = taken_up(tmp_path / "place")
    workspace.stage_beside(task)
    workspace.baseline()
    (work / "c.py").write_text("c = 3\n")
    made = published(workspace)
    assert made is not None
    assert changed(repo, made.base) == ["M a.py", "D b.py"]
    assert changed(repo, made.commit) == ["M c.py"]


def test_a_follow_up_for_another_repository_has_a_diff_and_no_branch(
    tmp_path: Path, repo: Path
) -> None:
    work = begun(tmp_path / "place", Task(repo=str(repo))).work_dir
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    workspace = taken_up(tmp_path / "place")
    workspace.stage_beside(Task(repo=str(other)))
    workspace.baseline()
    (work / "c.py").write_text("c = 3\n")
    assert workspace.diff().files_changed == ["c.py"]
    assert workspace.publish(ABOUT) is None
    assert "understudy" not in git(repo, "branch", "--list") + git(other, "branch", "--list")


def test_files_that_are_moved_out_keep_their_source(tmp_path: Path, repo: Path) -> None:
    workspace = Workspace(tmp_path / "place")
    workspace.create()
    workspace.stage(Task(repo=str(repo)))
    aside = Workspace(tmp_path / "aside")
    aside.create()
    workspace.move_out(aside)
    assert not list(workspace.work_dir.iterdir())
    again = taken_up(aside.root)
    again.baseline()
    (aside.work_dir / "a.py").write_text("a = 2\n")
    made = published(again)
    assert made is not None
    assert changed(repo, made.commit) == ["M a.py"]


def cut(text: str) -> str:
    return text[:-1]


def a_list(_text: str) -> str:
    return "[]"


@pytest.mark.parametrize("damage", [cut, a_list])
def test_a_damaged_record_of_the_source_is_a_clear_error(
    tmp_path: Path, repo: Path, damage: Callable[[str], str]
) -> None:
    begun(tmp_path / "place", Task(repo=str(repo)))
    file = tmp_path / "place" / "source.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(WorkspaceError, match=r"source\.json.*damaged"):
        taken_up(tmp_path / "place")


def test_clean_folders_know_no_source(tmp_path: Path, repo: Path) -> None:
    workspace = begun(tmp_path / "place", Task(repo=str(repo)))
    workspace.clean()
    assert not (tmp_path / "place" / "source.json").exists()
    assert published_none(workspace)


def published_none(workspace: Workspace) -> bool:
    workspace.baseline()
    return published(workspace) is None
