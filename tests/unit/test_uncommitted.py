"""What the user has not committed comes along when it is asked for, and stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes.repositories import BRANCH, changed, commit_all, git, made, state, worked

from understudy.actors.tasks.task import Task
from understudy.actors.tasks.validate import InvalidTask


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository whose every file the user has changed since, each in another way."""
    repo = made(tmp_path / "repo", changed="1\n", staged="1\n", gone="1\n", program="#!/bin/sh\n")
    (repo / "to").symlink_to("changed")
    (repo / ".gitignore").write_text("*.log\n")
    commit_all(repo)
    (repo / "changed").write_text("mine\n")
    (repo / "staged").write_text("mine\n")
    (repo / "fresh").write_text("mine\n")
    git(repo, "add", "staged", "fresh")
    (repo / "gone").unlink()
    (repo / "program").chmod(0o755)
    (repo / "binary").write_bytes(b"\0\xff\n")
    git(repo, "add", "binary")
    (repo / "to").unlink()
    (repo / "to").symlink_to("staged")
    (repo / "link").symlink_to("changed")
    git(repo, "add", "link")
    (repo / "untracked").write_text("mine\n")
    (repo / "ignored.log").write_text("mine\n")
    return repo


TAKEN = ["A binary", "M changed", "A fresh", "D gone", "A link", "M program", "M staged", "M to"]


def edit(work: Path) -> None:
    (work / "new").write_text("made\n")


def test_every_kind_of_change_is_taken_along_and_stays_as_it_is(tmp_path: Path, repo: Path) -> None:
    before, index = state(repo), git(repo, "status", "--porcelain", "--ignored")

    def change(work: Path) -> None:
        edit(work)
        seen = {path.name for path in work.iterdir()}
        assert seen == {".gitignore", "binary", "changed", "fresh", "link", "new", "program",
                        "staged", "to"}  # fmt: skip
        assert (work / "binary").read_bytes() == b"\0\xff\n"
        assert os.access(work / "program", os.X_OK)

    worked(tmp_path / "seat", repo, change)
    assert changed(repo) == ["A new"]
    assert sorted(changed(repo, f"{BRANCH}^"), key=lambda line: line[2:]) == TAKEN
    assert git(repo, "show", f"{BRANCH}:to") == "staged"
    assert git(repo, "ls-tree", BRANCH, "link", "program").split()[::4] == ["120000", "100755"]
    assert (state(repo), git(repo, "status", "--porcelain", "--ignored")) == (before, index)


def test_untracked_files_come_along_when_they_are_asked_for(tmp_path: Path, repo: Path) -> None:
    before = state(repo)
    worked(tmp_path / "seat", repo, edit, include_untracked=True)
    taken = changed(repo, f"{BRANCH}^")
    assert sorted(taken, key=lambda line: line[2:]) == [*TAKEN, "A untracked"]
    assert state(repo) == before


def test_without_being_asked_for_nothing_is_taken_along(tmp_path: Path, repo: Path) -> None:
    head = git(repo, "rev-parse", "HEAD")
    _, published = worked(tmp_path / "seat", repo, edit, include_uncommitted=False)
    assert published.base == head
    with pytest.raises(InvalidTask, match="untracked files are in no commit"):
        Task(description="x", include_uncommitted=False, include_untracked=True).check()


def test_a_link_out_of_the_repository_is_not_taken_along(tmp_path: Path) -> None:
    repo = made(tmp_path / "repo", a="1\n")
    (repo / "away").symlink_to(repo / "a")  # within it, but no other checkout has that place
    git(repo, "add", "away")
    worked(tmp_path / "seat", repo, edit)
    assert git(repo, "rev-list", "--count", BRANCH) == "2"
