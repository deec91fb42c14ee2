"""What an agent is asked to do, and what came of it: the two shapes a fleet hands on."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from .validate import (
    DEFAULT_PRIORITY_LEVELS,
    InvalidTask,
    check_fields,
    check_known_keys,
    check_result_fields,
)

_Shape = TypeVar("_Shape")

# What a subtask definition may say; all else it has from its parent.
SUBTASK_KEYS = ("type", "description", "files", "priority", "timeout")


class TaskState(StrEnum):
    """Where a task stands; the names are those of the A2A protocol."""

    SUBMITTED = "submitted"
    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """Whether a task in this state is over for good."""
        return self in _FINAL


_FINAL = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED})


def _new_task_id() -> str:
    return str(uuid.uuid4())


@dataclass(slots=True)
class Task:
    """One piece of work for one agent.

    Nothing is checked when it is made; `check` does that, and every way into a fleet calls it.

    Attributes:
        task_id: unique over the life of a task store.
        task_type: which prompt, tools and result shape it gets.
        description: what to do, in the user's words.
        files: paths inside `repo`, absolute or relative to it; folders stand for all files below.
        parallel: whether `subtasks` are meant to run side by side.
        subtasks: definitions with the keys in `SUBTASK_KEYS`; see `subtasks_of`.
        priority: 1 is lowest; 10, or what the configuration sets, is highest.
        timeout: seconds of work that one run of the task may take. What it waits for the API's
            limits or for a person's answer is not counted.
        deadline: when the task must be over, in seconds since the epoch, whatever it waits for;
            None is no limit.
        repo: folder that the files are taken from; None is the submitter's current folder.
        context_id: the conversation to go on in; None starts a new one.
        include_uncommitted: whether the agent gets the files as they lie in the user's folder;
            without it, as they are in the commit that is checked out there.
        include_untracked: whether a task that names no files gets those, too, that git neither
            tracks nor ignores.
        role: who is to do it, by the configuration's name; None: whoever does its type.
        agent: the one agent that may do it; None: any that can.
        parent: the id of the task in which an agent gave it away; None: a user gave it.
        given_by: that agent.
        is_ask: the agent waits for the answer in the middle of its turn; else it goes on.
        withheld: what its giver may not do, and so it may not: see `actors/team/rights.py`.
    """

    task_id: str = field(default_factory=_new_task_id)
    task_type: str = "generic"
    description: str = ""
    files: list[str] = field(default_factory=list[str])
    parallel: bool = False
    subtasks: list[dict[str, Any]] | None = None
    priority: int = 5
    timeout: float = 300.0
    repo: str | None = None
    context_id: str | None = None
    include_uncommitted: bool = True
    role: str | None = None
    agent: str | None = None
    parent: str | None = None
    given_by: str | None = None
    is_ask: bool = False
    withheld: list[str] = field(default_factory=list[str])
    deadline: float | None = None
    include_untracked: bool = False

    def check(self, priority_levels: int = DEFAULT_PRIORITY_LEVELS) -> None:
        """Refuse what no agent could work on, in this task and in its subtasks.

        Raises:
            InvalidTask: says which field is wrong, and how to put it right.
        """
        check_fields(self, priority_levels)
        for subtask in subtasks_of(self):
            check_fields(subtask, priority_levels)

    def to_wire(self) -> dict[str, Any]:
        """The task as plain data, which msgpack and JSON take."""
        return {name: getattr(self, name) for name in _TASK_FIELDS}

    @classmethod
    def from_wire(cls, data: object) -> Task:
        """The task that `to_wire` wrote; fields of a newer version are left out.

        Raises:
            InvalidTask: a field has the wrong type.
        """
        return _convert(data, cls)


@dataclass(slots=True)
class TaskResult:
    """What came of a task.

    Attributes:
        agent_id: who worked on it last; "none" when nobody did.
        status: "success", "failed", "timeout" or "partial".
        result: what the task type promises; empty when it failed early.
        error: why there was no success, in a sentence.
        execution_time: seconds of the run that ended the task.
        timestamp: seconds since the epoch, when the result was made.
        attempts: how often the task was given to an agent.
        usage: counted tokens by kind.
        cost_usd: US dollars as the CLI reported them; None is unknown.
        branch: where the work lies in the user's repository, if it is there.
        failure_kind: the kind of failure, as in the table of failure kinds.
        context_id: the conversation it came from; a later task may go on in it.
    """

    task_id: str
    agent_id: str
    status: str
    result: dict[str, Any]
    error: str | None = None
    execution_time: float = 0.0
    timestamp: float = field(default_factory=time.time)
    attempts: int = 1
    usage: dict[str, Any] = field(default_factory=dict[str, Any])
    cost_usd: float | None = None
    branch: str | None = None
    failure_kind: str | None = None
    context_id: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """The result as plain data, which msgpack and JSON take."""
        return {name: getattr(self, name) for name in _RESULT_FIELDS}

    @classmethod
    def from_wire(cls, data: object) -> TaskResult:
        """The result that `to_wire` wrote; fields of a newer version are left out.

        Raises:
            InvalidTask: a field is missing, has the wrong type or an unknown status.
        """
        result = _convert(data, cls)
        check_result_fields(result)
        return result


_TASK_FIELDS = tuple(f.name for f in fields(Task))
_RESULT_FIELDS = tuple(f.name for f in fields(TaskResult))


def subtasks_of(task: Task) -> list[Task]:
    """The subtasks as tasks of their own, in their order; empty when there are none.

    Each has the id of its parent with `_sub0`, `_sub1` … added. Type, priority and timeout come
    from the parent where the definition does not say; the deadline, the repository, and whether it
    is taken as it lies on disk, always do. A context is not handed down: side by side, they cannot
    share one conversation.

    Raises:
        InvalidTask: a definition has an unknown key, or a value of the wrong type.
    """
    return [_subtask(task, i, definition) for i, definition in enumerate(task.subtasks or [])]


def _subtask(task: Task, index: int, definition: dict[str, Any]) -> Task:
    where = f"subtasks[{index}]"
    check_known_keys(where, definition, SUBTASK_KEYS)
    wire: dict[str, Any] = {
        "task_id": f"{task.task_id}_sub{index}",
        "task_type": definition.get("type", task.task_type),
        "description": definition.get("description", ""),
        "files": definition.get("files", []),
        "priority": definition.get("priority", task.priority),
        "timeout": definition.get("timeout", task.timeout),
        "deadline": task.deadline,
        "repo": task.repo,
        "include_uncommitted": task.include_uncommitted,
        "include_untracked": task.include_untracked,
        "role": task.role,
    }
    return _convert(wire, Task, where)


def _convert(data: object, into: type[_Shape], where: str = "") -> _Shape:
    try:
        return msgspec.convert(data, into)
    except msgspec.ValidationError as error:
        # msgspec says: Expected `str`, got `int` - at `$.files[0]`
        reason, _, place = str(error).partition(" - at ")
        name = ".".join(part for part in (where, place.strip("`").removeprefix("$.")) if part)
        raise InvalidTask(name or into.__name__, data, reason) from None
