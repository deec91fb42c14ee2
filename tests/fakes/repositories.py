"""git repositories for tests, and a task's way through one: files in, a change, a branch out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.actors.tasks.task import Task
from understudy.actors.workspace import About, Published, Workspace

BRANCH = "understudy/task-1"
_SETTINGS = (
    "user.name=t",
    "user.email=t@example.org",
    "init.defaultBranch=m",
    "protocol.file.allow=always",
    "safe.directory=*",
)


def git(folder: Path, *arguments: str) -> str:
    """What git says, with no configuration but this one."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    done = subprocess.run(
        ["git", *settings, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(errors="surrogateescape").rstrip("\n")


def made(folder: Path, **files: str) -> Path:
    """A repository with one commit of the files; "__" in a name stands for a point."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    commit_all(folder)
    return folder


def commit_all(repo: Path, message: str = "start") -> str:
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", message)
    return git(repo, "rev-parse", "HEAD")


def changed(repo: Path, revision: str = BRANCH) -> list[str]:
    """What one commit did: status and path, as git names them."""
    told = git(repo, "show", "--format=", "--name-status", "--no-renames", revision)
    return told.replace("\t", " ").splitlines()


def worked(
    seat: Path,
    repo: Path,
    change: Callable[[Path], object],
    **fields: Any,  # noqa: ANN401 - of the task
) -> tuple[Workspace, Published]:
    """A task's work on a repository, and its branch."""
    workspace = Workspace(seat)
    workspace.create()
    workspace.stage(Task(task_id="task-1", repo=str(repo), **fields))
    workspace.baseline()
    change(workspace.work_dir)
    workspace.diff()
    published = workspace.publish(About("task-1", "refactor", "agent_000", "Do it", 1_700_000_000))
    assert published is not None
    return workspace, published


def state(repo: Path) -> dict[str, bytes]:
    """Everything of the repository but its objects and the branches of tasks."""
    return {
        str(path.relative_to(repo)): path.read_bytes()
        for path in repo.rglob("*")
        if path.is_file() and ".git/objects" not in str(path) and "understudy" not in str(path)
    }
