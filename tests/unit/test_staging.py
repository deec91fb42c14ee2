"""Which files reach a workspace, where they lie there, and which are refused by name."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from understudy.actors.staging import resolve_files
from understudy.actors.tasks import Task
from understudy.actors.untrusted_tree import place_file
from understudy.actors.workspace import Workspace, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    for name in ("app.py", "frontend/app.py", "backend/app.py", "backend/deep/er/x.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "seat")
    made.create()
    return made


def names(repo: Path, *files: str) -> list[str]:
    return [str(file.relative) for file in resolve_files(repo, list(files))]


def contents(workspace: Workspace) -> dict[str, str]:
    root = workspace.work_dir
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def refusal(repo: Path, name: str) -> WorkspaceError:
    with pytest.raises(WorkspaceError) as caught:
        resolve_files(repo, [name])
    assert caught.value.path == name
    assert caught.value.mend
    return caught.value


def test_files_of_the_same_name_keep_their_folders(repo: Path, workspace: Workspace) -> None:
    workspace.stage(Task(repo=str(repo), files=["frontend/app.py", "backend/app.py"]))
    assert contents(workspace) == {
        "frontend/app.py": "# frontend/app.py\n",
        "backend/app.py": "# backend/app.py\n",
    }


def test_paths_may_be_absolute_relative_or_roundabout_and_count_once(repo: Path) -> None:
    assert names(repo, str(repo / "app.py"), "app.py", "./frontend/../app.py") == ["app.py"]


def test_a_repository_named_by_a_link_takes_absolute_paths_of_both_names(
    repo: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(repo)
    assert names(link, str(link / "app.py"), str(repo / "backend/app.py")) == [
        "app.py",
        "backend/app.py",
    ]


def test_a_folder_stands_for_all_files_below_but_git(repo: Path) -> None:
    (repo / "backend" / ".git").mkdir()
    (repo / "backend" / ".git" / "config").write_text("[core]\n")
    assert names(repo, "backend") == ["backend/app.py", "backend/deep/er/x.py"]


def test_no_files_stand_for_what_git_tracks(repo: Path) -> None:
    (repo / "untracked.env").write_text("SECRET=1\n")
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    subprocess.run(["git", "add", "frontend", "backend/app.py"], cwd=repo, check=True)
    (repo / "frontend" / "app.py").unlink()
    assert names(repo) == ["backend/app.py"]


def test_no_files_stand_for_all_where_there_is_no_git(repo: Path) -> None:
    assert sorted(names(repo)) == [
        "app.py",
        "backend/app.py",
        "backend/deep/er/x.py",
        "frontend/app.py",
    ]


def test_asking_git_runs_no_program_that_the_repository_names(repo: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    subprocess.run(["git", "add", "app.py"], cwd=repo, check=True)
    with (repo / ".git" / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = touch {trap}\n")
    assert names(repo) == ["app.py"]
    assert not trap.exists()
    # The trap is one: git, asked plainly, springs it.
    subprocess.run(["git", "status"], cwd=repo, check=True, capture_output=True)
    assert trap.exists()


def test_a_link_inside_the_repository_is_copied_as_the_file_it_points_to(
    repo: Path, workspace: Workspace
) -> None:
    (repo / "link.py").symlink_to("backend/app.py")
    (repo / "folder").symlink_to("frontend")
    workspace.stage(Task(repo=str(repo), files=["link.py", "folder"]))
    assert contents(workspace) == {
        "link.py": "# backend/app.py\n",
        "folder/app.py": "# frontend/app.py\n",
    }
    assert not any(path.is_symlink() for path in workspace.work_dir.rglob("*"))


def test_empty_binary_and_executable_files_are_taken_and_told_apart(
    repo: Path, workspace: Workspace
) -> None:
    (repo / "empty").touch()
    (repo / "data").write_bytes(b"a\0b")
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o555)
    staged = workspace.stage(Task(repo=str(repo), files=["empty", "data", "run.sh"]))
    assert [file.is_binary for file in staged] == [False, True, False]
    assert [file.is_executable for file in staged] == [False, False, True]
    modes = [(workspace.work_dir / file.relative).stat().st_mode & 0o777 for file in staged]
    assert modes == [0o644, 0o644, 0o755]


def test_a_missing_file_is_refused_by_name(repo: Path) -> None:
    assert "there is no such file" in str(refusal(repo, "frontend/gone.py"))
    assert "there is no such file" in str(refusal(repo, "app.py/inner"))


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", "backend/../../outside.txt"])
def test_a_path_outside_the_repository_is_refused(repo: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.txt").write_text("x")
    assert "outside of" in refusal(repo, name).reason


def test_a_folder_with_the_repositorys_name_as_its_beginning_is_outside(
    repo: Path, tmp_path: Path
) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "a").touch()
    assert "outside of" in refusal(repo, str(tmp_path / "repository" / "a")).reason


def test_a_link_that_leads_outside_is_refused_and_says_where_to(repo: Path) -> None:
    (repo / "passwd").symlink_to("/etc/passwd")
    (repo / "etc").symlink_to("/etc")
    assert "it is /etc/passwd" in refusal(repo, "passwd").reason
    assert "outside of" in refusal(repo, "etc/passwd").reason


def test_a_link_to_itself_is_refused(repo: Path) -> None:
    (repo / "loop").symlink_to("loop")
    assert "unreadable" in refusal(repo, "loop").reason


def test_pipes_and_sockets_are_refused_without_waiting_for_them(repo: Path) -> None:
    os.mkfifo(repo / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(repo)  # the path of a socket has 107 bytes
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        assert "pipe, socket or device" in refusal(repo, "pipe").reason
        assert "pipe, socket or device" in refusal(repo, "socket").reason


def test_what_belongs_to_git_is_refused(repo: Path) -> None:
    (repo / ".git").mkdir()
    (repo / ".git" / "config").write_text("url = https://key@host\n")
    (repo / "alias").symlink_to(".git/config")
    assert "belongs to git" in refusal(repo, ".git/config").reason
    assert "belongs to git" in refusal(repo, ".git").reason
    assert "belongs to git" in refusal(repo, "alias").reason


def test_a_file_of_100_megabytes_is_refused_without_reading_it(repo: Path) -> None:
    with (repo / "big.bin").open("wb") as file:
        file.truncate(100_000_000)
    error = refusal(repo, "big.bin")
    assert "100,000,000 bytes, at most 10,000,000" in error.reason
    assert "storage.max_file_bytes" in error.mend


def test_too_many_bytes_together_are_refused(repo: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"storage\.max_workspace_bytes"):
        resolve_files(repo, ["app.py", "frontend", "backend"], max_total_bytes=30)


def test_a_missing_repository_or_a_file_as_one_is_refused(repo: Path) -> None:
    with pytest.raises(WorkspaceError, match="repository is not there"):
        resolve_files(repo / "gone", ["a"])
    with pytest.raises(WorkspaceError, match="no folder"):
        resolve_files(repo / "app.py", [])


def test_what_a_folder_only_happens_to_hold_is_left_out_with_a_line_in_the_log(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (repo / "backend" / "python").symlink_to("/usr/bin/env")
    (repo / "backend" / "dangling").symlink_to("nowhere")
    os.mkfifo(repo / "backend" / "pipe")
    with caplog.at_level(logging.WARNING):
        assert names(repo, "backend") == ["backend/app.py", "backend/deep/er/x.py"]
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        "backend/dangling",
        "backend/pipe",
        "backend/python",
    ]


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder that an ordinary user can reach, and that user's eyes for a test run by root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        if os.getuid() == 0:
            os.seteuid(0)


def test_an_unreadable_file_is_refused_by_name(as_nobody: Path) -> None:
    (as_nobody / "closed.py").write_text("x")
    (as_nobody / "closed.py").chmod(0)
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    assert "cannot be read: Permission denied" in refusal(as_nobody, "closed.py").reason


def test_staging_empties_the_workspace_first(repo: Path, workspace: Workspace) -> None:
    (workspace.work_dir / "left").mkdir()
    (workspace.work_dir / "left" / "over.py").touch()
    workspace.stage(Task(repo=str(repo), files=["app.py"]))
    assert contents(workspace) == {"app.py": "# app.py\n"}


def test_a_disk_without_room_is_reported_with_its_reason(repo: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "small")
    workspace.create()
    size = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(workspace.work_dir)]
    if os.getuid() != 0 or subprocess.run(size, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        (repo / "big.txt").write_text("x" * 50_000)
        with pytest.raises(WorkspaceError, match="cannot be filled: No space left on device"):
            workspace.stage(Task(repo=str(repo), files=["big.txt"]))
    finally:
        subprocess.run(["umount", "-l", workspace.work_dir], check=True)


def test_a_refused_file_leaves_the_workspace_as_it_was(repo: Path, workspace: Workspace) -> None:
    (workspace.work_dir / "old").touch()
    with pytest.raises(WorkspaceError):
        workspace.stage(Task(repo=str(repo), files=["app.py", "gone"]))
    assert contents(workspace) == {"old": ""}


def test_a_task_with_neither_repository_nor_files_has_an_empty_workspace(
    workspace: Workspace,
) -> None:
    assert workspace.stage(Task(description="say hello")) == []
    assert contents(workspace) == {}


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_staged_files_and_folders_belong_to_the_containers_user(repo: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "given")
    workspace.create((1000, 1000))
    workspace.stage(Task(repo=str(repo), files=["backend"]))
    for path in [workspace.work_dir, workspace.home_dir, *workspace.work_dir.rglob("*")]:
        assert (path.stat().st_uid, path.stat().st_gid) == (1000, 1000)


def test_a_link_planted_in_the_workspace_is_not_written_through(
    workspace: Workspace, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (workspace.work_dir / "sub").symlink_to(outside)
    (workspace.work_dir / "file").symlink_to(outside / "file")
    source = tmp_path / "source"
    source.write_text("text")
    for relative in ("sub/file", "file"):
        with source.open("rb") as opened, pytest.raises(OSError, match=r"exists|directory|links"):
            place_file(
                workspace.work_dir,
                PurePosixPath(relative),
                opened,
                mode=0o644,
                owner=None,
                max_bytes=100,
            )
    assert list(outside.iterdir()) == []
