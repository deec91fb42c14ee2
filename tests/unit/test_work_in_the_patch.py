"""Work that can be in no commit, in a submodule or stored translated: taken over, and not lost."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.repositories import commit_all, git, made, worked

from understudy.actors.repository.patches import only
from understudy.actors.repository.takeout import Work, WorkRefused
from understudy.actors.tasks.task import Task, TaskResult


@pytest.fixture(autouse=True)
def _own_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = t\n\temail = t@example.org\n")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a folder `in`, and in that a.py, big.bin of git LFS, and a submodule."""
    made(tmp_path / "library", l__py="l = 1\n")
    repo = made(tmp_path / "repo", top="1\n")
    (repo / "in").mkdir()
    (repo / "in" / "a.py").write_text("a = 1\n")
    (repo / "in" / "big.bin").write_text("stored\n")
    git(repo, "submodule", "--quiet", "add", "../library", "in/lib é")
    commit_all(repo)
    (repo / ".gitattributes").write_text("*.bin filter=lfs -text\n")
    commit_all(repo)
    return repo


def finished(tmp_path: Path, folder: Path, *names: str) -> Work:
    """A task that put "2" into each of these files."""

    def change(work: Path) -> None:
        for name in names:
            (work / name).write_text("2\n")

    workspace, published = worked(tmp_path / "seat", folder, change)
    diff = workspace.diff()
    said = {"diff": diff.text, "files_changed": diff.files_changed, **published.to_result()}
    task = Task(task_id="task-1", repo=str(folder))
    return Work.of(task, TaskResult("task-1", "a", "success", said, branch=published.branch))


ALL = ("a.py", "big.bin", "lib é/l.py", "lib é/new.py")


def test_apply_takes_both_from_the_branch_and_from_the_patch(tmp_path: Path, repo: Path) -> None:
    folder = repo / "in"
    work = finished(tmp_path, folder, *ALL)
    assert (work.branch, work.rest) == ("understudy/task-1", tuple(f"in/{one}" for one in ALL[1:]))
    work.apply()
    assert [(folder / name).read_text() for name in ALL] == ["2\n"] * 4
    assert work.loss() is None
    with pytest.raises(WorkRefused, match="there already"):
        work.apply()


def test_a_merge_says_what_it_does_not_bring_and_that_is_not_lost(
    tmp_path: Path, repo: Path
) -> None:
    work = finished(tmp_path, repo / "in", *ALL)
    told = "its changes to 3 files are in its patch alone (understudy apply)"
    assert told in work.merge()
    assert work.loss() == told
    assert work.loss(looks_at_disk=False) == told  # it stays after storage.keep_days
    assert replace(work, was_applied=True).loss(looks_at_disk=False) is None
    work.apply()
    assert [(repo / "in" / name).read_text() for name in ALL] == ["2\n"] * 4
    assert work.loss() is None


def test_it_is_all_or_nothing(tmp_path: Path, repo: Path) -> None:
    work = finished(tmp_path, repo / "in", *ALL)
    (repo / "in" / "big.bin").write_text("mine\n")
    with pytest.raises(WorkRefused, match="does not apply"):
        work.apply()
    assert (repo / "in" / "a.py").read_text() == "a = 1\n"


def test_work_in_a_submodule_alone_has_no_branch(tmp_path: Path, repo: Path) -> None:
    work = finished(tmp_path, repo / "in", "lib é/l.py")
    assert work.branch is None
    assert work.loss() == "its changes to 1 files were not taken over"
    work.apply()
    assert (repo / "in" / "lib é" / "l.py").read_text() == "2\n"
    assert work.loss() is None


def test_parts_of_a_patch_are_found_by_their_paths(tmp_path: Path) -> None:
    names = ["plain", "with blank", 'a "quote" \\ é', "line\nfeed", "b/twice b/twice", "tab\t"]
    repo = made(tmp_path / "repo", first="1\n")
    for name in names:
        (repo / name).parent.mkdir(exist_ok=True, parents=True)
        (repo / name).write_text("diff --git a/plain b/plain\n")
    commit_all(repo)
    patch = subprocess.run(
        ["git", "diff", "HEAD^", "HEAD"], cwd=repo, capture_output=True, check=True
    ).stdout
    parts = [only(patch, {name}) for name in names]
    assert all(parts)
    assert len(set(parts)) == len(names)
    assert sum(map(len, parts)) == len(patch)
    assert only(patch, {"other"}) == b""
