"""A task's work, taken out of its workspace: into its result and, where there is git, a branch.

An agent does it when its turn has come to an end of any kind. Where no agent could, as it was
killed, the sweep does it before it removes what was left.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .failure import POLICIES, FailureKind
from .repository.plan import in_diff_alone
from .repository.publish import About
from .untrusted_tree import WorkspaceError
from .workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from .saving import Saving
    from .tasks.store import TaskStore
    from .tasks.task import Task, TaskResult

_log = logging.getLogger(__name__)


def note_changes(workspace: Workspace, result: TaskResult) -> bool:
    """Put the workspace's changes in the result; whether there are any.

    Raises:
        WorkspaceError: there is no baseline, it cannot be read, or git fails.
    """
    diff = workspace.diff()
    result.result |= {"diff": diff.text, "files_changed": diff.files_changed}
    if diff.left_out:
        result.result["left_out"] = diff.left_out
    return bool(diff.files_changed)


def put_on_branch(
    workspace: Workspace, task: Task, result: TaskResult, saving: Saving | None = None
) -> None:
    """Put what `note_changes` saw on a branch; the result says which, or why there is none.

    What is neither there nor, for its size, in the result's patch is in a copy then.
    """
    at = int(result.timestamp)
    about = About(task.task_id, task.task_type, result.agent_id, task.description, at)
    try:
        published = workspace.publish(about)
    except WorkspaceError as error:
        result.result["branch_error"] = str(error)
    else:
        if published is not None:
            result.branch = published.branch
            result.result |= published.to_result()
    # A patch has a limit in a result, a copy has none.
    if saving and not _is_whole(result) and saving.save(workspace, task.task_id):
        result.result["whole"] = f"understudy diff {task.task_id} --saved"


def save_work(
    workspace: Workspace, task: Task, result: TaskResult, saving: Saving | None = None
) -> None:
    """Keep what a task wrote that did not come to its end; the result says why there is nothing."""
    try:
        if note_changes(workspace, result):
            put_on_branch(workspace, task, result, saving)
    except WorkspaceError as error:
        result.result["work_error"] = str(error)


def rescue(workspace: Workspace, store: TaskStore, saving: Saving | None = None) -> bool:
    """Take the work of a finished task out of folders that nobody holds; whether they may go now.

    They may when nothing is in them that the task's record, branch and copies do not have.

    Raises:
        StoreError: the store failed.
    """
    mark = workspace.marked()
    task = store.task(mark[0]) if mark else None
    result = store.result(mark[0]) if mark else None
    if task is None or result is None or not _is_missing(result):
        return True
    try:
        workspace.take_up()
        if not workspace.has_baseline or not note_changes(workspace, result):
            return True
        put_on_branch(workspace, task, result, saving)
    except WorkspaceError as error:
        _log.warning("the work of task %s stays in %s: %s", task.task_id, workspace.root, error)
        return False
    where = f"branch {result.branch}" if result.branch else "its result"
    store.add_work(result, f"its unfinished work is kept in {where}")
    return _is_whole(result)


def left_behind(conversations: Path, task_id: str, result: TaskResult) -> Path | None:
    """The folder that alone has what a finished task wrote, or None: `rescue` was not there yet."""
    if not _is_missing(result):
        return None
    for folder in (conversations / "live").glob("*"):
        workspace = Workspace(folder)
        if (mark := workspace.marked()) and mark[0] == task_id and workspace.may_have_work:
            return folder
    return None


def _is_whole(result: TaskResult) -> bool:
    """Whether what a task wrote is all in its result, its branch or a copy."""
    said = result.result
    if "(patch)" not in said.get("left_out", {}) or "whole" in said:
        return True
    return result.branch is not None and not in_diff_alone(said.get("not_on_branch", {}))


def _is_missing(result: TaskResult) -> bool:
    """Whether the work of that task may be in its folders alone."""
    if result.failure_kind is None or result.branch is not None:
        return False
    if not _is_whole(result):
        return True
    # One that was to run again was given no branch, though its changes were noted.
    return POLICIES[FailureKind(result.failure_kind)].requeue or "diff" not in result.result
