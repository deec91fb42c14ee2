"""Files that a task does not get for their size are named: to the agent, and to the user."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.repositories import commit_all, made

from understudy.actors.tasks.prompts import without
from understudy.actors.tasks.task import Task
from understudy.actors.workspace import Workspace, WorkspaceError

REASON = "it has 1,001 bytes, at most 1,000 are taken"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a file of 1,001 bytes in a folder."""
    repo = made(tmp_path / "repo", small="1\n")
    (repo / "in").mkdir()
    (repo / "in" / "big").write_text("x" * 1001)
    (repo / "in" / "other").write_text("1\n")
    commit_all(repo)
    return repo


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "seat", max_file_bytes=1000)
    made.create()
    return made


# A commit's files below a named folder count as named: they are refused.
@pytest.mark.parametrize(("files", "on_disk"), [([], True), ([], False), (["in"], True)])
def test_what_is_too_large_is_named_also_to_who_takes_the_folders_up(
    repo: Path, workspace: Workspace, files: list[str], on_disk: bool
) -> None:
    workspace.stage(Task(repo=str(repo), files=files, include_uncommitted=on_disk))
    assert workspace.not_taken() == {"in/big": REASON}
    again = Workspace(workspace.root, max_file_bytes=1000)
    again.take_up()
    assert again.not_taken() == {"in/big": REASON}


def test_it_is_forgotten_with_the_task(repo: Path, workspace: Workspace) -> None:
    workspace.stage(Task(repo=str(repo)))
    workspace.clean()
    assert workspace.not_taken() == {}
    workspace.stage(Task(repo=str(repo)))
    workspace.stage(Task(repo=str(repo), files=["small"]))
    assert workspace.not_taken() == {}


def test_a_task_that_goes_on_in_an_earlier_context_has_its_own(
    repo: Path, workspace: Workspace
) -> None:
    workspace.stage(Task(repo=str(repo), files=["small"]))
    workspace.stage_beside(Task(repo=str(repo), files=["in"]))
    assert workspace.not_taken() == {"in/big": REASON}


def test_a_named_file_that_is_too_large_is_refused(repo: Path, workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="at most 1,000"):
        workspace.stage(Task(repo=str(repo), files=["in/big"]))


def test_of_very_many_a_hundred_are_named(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for number in range(103):
        (folder / f"{number:03}").write_text("x" * 1001)
    workspace.stage(Task(repo=str(folder)))
    missed = workspace.not_taken()
    assert (len(missed), missed["(more)"]) == (101, "3 more files")


def test_the_prompt_names_them_on_a_line_each() -> None:
    assert without("Do it", {}) == "Do it"
    told = without("Do it", {"in/big": REASON, "a\nb": "x"})
    assert told.startswith("Do it\n\nThese files exist")
    assert told.endswith(f"\n- in/big: {REASON}\n- a\\nb: x")
