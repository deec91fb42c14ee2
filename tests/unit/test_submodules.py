"""Submodules: their files come along, their commits are kept, changes in them are in the patch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fakes.repositories import BRANCH, changed, commit_all, git, made, state, worked

from understudy.actors.tasks.task import Task
from understudy.actors.workspace import Workspace

IN_LIB = "it is in the submodule lib; take it from the diff"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with the submodule lib, which has the submodule deep."""
    made(tmp_path / "deep", d__py="d = 1\n")
    library = made(tmp_path / "library", l__py="l = 1\n")
    git(library, "submodule", "--quiet", "add", "../deep", "deep")
    commit_all(library)
    repo = made(tmp_path / "repo", a__py="a = 1\n")
    git(repo, "submodule", "--quiet", "add", "../library", "lib")
    git(repo, "submodule", "--quiet", "update", "--init", "--recursive")
    commit_all(repo)
    return repo


def edit(work: Path) -> None:
    (work / "a.py").write_text("a = 2\n")


def staged(tmp_path: Path, repo: Path, *, committed: bool) -> dict[str, str]:
    workspace = Workspace(tmp_path / "look")
    workspace.create()
    workspace.stage(Task(repo=str(repo), include_uncommitted=not committed))
    root = workspace.work_dir
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in found.items() if name.endswith(".py")}


@pytest.mark.parametrize("committed", [False, True])
def test_their_files_come_along_and_their_commits_are_kept(
    tmp_path: Path, repo: Path, committed: bool
) -> None:
    before, link = state(repo), git(repo, "ls-tree", "HEAD", "lib")
    (repo / "lib" / "l.py").write_text("l = 'mine'\n")
    of_lib = "l = 1\n" if committed else "l = 'mine'\n"
    assert staged(tmp_path, repo, committed=committed) == {
        "a.py": "a = 1\n",
        "lib/l.py": of_lib,
        "lib/deep/d.py": "d = 1\n",
    }
    (repo / "lib" / "l.py").write_text("l = 1\n")
    _, published = worked(tmp_path / "seat", repo, edit, include_uncommitted=not committed)
    assert published.left_out == {}
    assert changed(repo) == ["M a.py"]
    assert git(repo, "ls-tree", BRANCH, "lib") == link
    assert git(repo, "rev-list", "--count", BRANCH) == "3"
    assert state(repo) == before


def test_changes_in_them_are_named_and_in_the_patch(tmp_path: Path, repo: Path) -> None:
    def change(work: Path) -> None:
        edit(work)
        (work / "lib" / "l.py").write_text("l = 2\n")
        (work / "lib" / "new.py").write_text("new\n")
        (work / "lib" / "deep" / "d.py").unlink()

    workspace, published = worked(tmp_path / "seat", repo, change)
    names = ("lib/deep/d.py", "lib/l.py", "lib/new.py")
    assert published.left_out == dict.fromkeys(names, IN_LIB)
    assert changed(repo) == ["M a.py"]
    assert set(names) < set(workspace.diff().files_changed)


def test_a_submodule_of_the_user_s_that_is_new_or_moved_on_is_taken_along(
    tmp_path: Path, repo: Path
) -> None:
    (repo / "lib" / "l.py").write_text("l = 3\n")
    git(repo / "lib", "add", "l.py")
    git(repo / "lib", "commit", "-q", "-m", "on")
    git(repo, "submodule", "--quiet", "add", "../deep", "other")
    worked(tmp_path / "seat", repo, edit)
    assert changed(repo, f"{BRANCH}^") == ["M .gitmodules", "M lib", "A other"]
    on = git(repo / "lib", "rev-parse", "HEAD")
    assert git(repo, "rev-parse", f"{BRANCH}:lib") == on
    assert changed(repo) == ["M a.py"]


@pytest.mark.parametrize("committed", [False, True])
def test_one_that_is_not_checked_out_stays_out(tmp_path: Path, repo: Path, committed: bool) -> None:
    git(repo.parent, "clone", "-q", "repo", "plain")
    plain = repo.parent / "plain"
    assert staged(tmp_path, plain, committed=committed) == {"a.py": "a = 1\n"}
    worked(tmp_path / "seat", plain, edit, include_uncommitted=not committed)
    assert git(plain, "ls-tree", BRANCH, "lib") == git(plain, "ls-tree", "HEAD", "lib")
    assert changed(plain) == ["M a.py"]


@pytest.mark.parametrize("committed", [False, True])
def test_a_folder_that_names_another_repository_is_none(
    tmp_path: Path, repo: Path, committed: bool
) -> None:
    made(tmp_path / "private", secret__py="secret\n")
    shutil.rmtree(repo / "lib")
    (repo / "lib").mkdir()
    (repo / "lib" / ".git").write_text(f"gitdir: {tmp_path / 'private' / '.git'}\n")
    git(repo, "update-index", "--cacheinfo",
        f"160000,{git(tmp_path / 'private', 'rev-parse', 'HEAD')},lib")  # fmt: skip
    git(repo, "commit", "-q", "-m", "taken from somewhere")
    assert staged(tmp_path, repo, committed=committed) == {"a.py": "a = 1\n"}


def test_nothing_of_their_configuration_is_executed(tmp_path: Path, repo: Path) -> None:
    trap = tmp_path / "sprung"
    with (repo / ".git" / "modules" / "lib" / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = touch {trap}\n\thooksPath = {tmp_path}\n")
        config.write(f'[filter "x"]\n\tclean = touch {trap}\n\tsmudge = touch {trap}\n')
    (repo / ".git" / "modules" / "lib" / "info" / "attributes").write_text("* filter=x\n")
    worked(tmp_path / "seat", repo, edit, include_untracked=True)
    worked(tmp_path / "seat2", repo, edit, include_uncommitted=False)
    assert not trap.exists()
    # The trap is one: git, asked plainly, springs it.
    (repo / "lib" / "l.py").write_text("l = 5\n")
    git(repo / "lib", "status")
    assert trap.exists()
