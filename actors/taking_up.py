"""A place made ready for a task: what an earlier incarnation left of it, or clean folders."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .claude import ClaudeError
from .claude.resume_point import move_forward
from .claude.trace import Trace, read_trace, transcript_size
from .failure import POLICIES, FailureKind
from .places import is_name
from .workspace import Workspace, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .places import Places
    from .saving import Saving
    from .tasks.rows import Conversation
    from .tasks.task import Task, TaskResult

_log = logging.getLogger(__name__)

# What becomes of a task's place after a run: it is kept for a task that names its context, left for
# the next run of the same task, or removed.
Fate = Literal["kept", "left", "removed"]


class ContextGone(ClaudeError):
    """The conversation that a task is to go on in is not there."""

    def __init__(self, context_id: str) -> None:
        super().__init__(context_id)
        self.context_id = context_id

    def __str__(self) -> str:
        return f"the context {self.context_id!r} is not kept, or another task goes on in it"


@dataclass(frozen=True)
class Opened:
    """Where a task finds itself.

    Attributes:
        workspace: its folders.
        session_id: the CLI's conversation.
        trace: the conversation so far, when an earlier run of this very task was cut off in it.
        continues: the conversation and the workspace are those of an earlier task.
    """

    workspace: Workspace
    session_id: str
    trace: Trace | None = None
    continues: bool = False

    @property
    def resumes(self) -> bool:
        """Whether the CLI goes on with a conversation."""
        return self.continues or self.trace is not None


def take_up(
    places: Places,
    conversation: Conversation,
    task: Task | None,
    make: Callable[[Path], Workspace],
    owner: tuple[int, int] | None,
    saving: Saving,
) -> Opened:
    """Folders for the task in a place that is held; None is a task that is not known yet.

    What is found there and cannot be gone on with is removed; the work in it is saved before.

    Raises:
        ContextGone: the context that the task names is not there.
        OSError: they cannot be made, or the conversation's transcript cannot be written.
    """
    session_id, place = conversation.session_id, conversation.place
    continues = task is not None and task.context_id is not None
    workspace = make(places.live(place))
    there = workspace.root.exists()
    if not there and task is not None and is_name(session_id):
        there = places.bring_back(session_id, place)
    found = _found(workspace, session_id, task) if there and task is not None else None
    if found is not None:
        try:
            workspace.take_up(owner)
        except WorkspaceError:
            found = None
        else:
            if move_forward(workspace.home_dir, session_id):
                _log.info("%s would have gone on from an older message", session_id)
            return found
    if continues:
        raise ContextGone(session_id)
    give_up(make(workspace.root), saving)
    workspace.create(owner)
    return Opened(workspace, session_id)


def give_up(workspace: Workspace, saving: Saving) -> None:
    """Remove folders; what a task has written in them so far is saved before.

    Raises:
        OSError: they cannot be removed.
    """
    mark = workspace.marked()
    if mark is not None and workspace.may_have_work:
        try:
            workspace.take_up()
        except WorkspaceError as error:
            _log.warning("the work of %s cannot be saved: %s", mark[0], error)
        else:
            saving.save(workspace, mark[0])
    workspace.remove()


def _found(workspace: Workspace, session_id: str, task: Task) -> Opened | None:
    """What there is to go on with."""
    if not is_name(session_id):
        return None
    mark = workspace.marked()
    if mark is not None and mark[0] == task.task_id:
        trace = read_trace(workspace.home_dir, session_id, start=mark[1])
        if trace is not None and trace.prompted:
            return Opened(workspace, session_id, trace)
    has_any = transcript_size(workspace.home_dir, session_id) > 0
    if task.context_id is not None and has_any:
        return Opened(workspace, session_id, continues=True)
    return None


def fate_of(result: TaskResult) -> Fate:
    """What becomes of the place after a run with that result."""
    if "work_error" in result.result:
        return "left"  # the folder alone has the work
    kind = FailureKind(result.failure_kind) if result.failure_kind else None
    # A cancellation may be a recall: the task runs again then.
    if kind is FailureKind.CANCELED or (kind is not None and POLICIES[kind].requeue):
        return "left"
    return "kept" if result.context_id is not None else "removed"
