"""What a task must be like before a fleet takes it, and the error that says what is not."""

from __future__ import annotations

import difflib
import math
import re
import reprlib
from typing import TYPE_CHECKING, cast

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Collection

    from .task import Task, TaskResult

DEFAULT_PRIORITY_LEVELS = 10
MAX_DESCRIPTION_BYTES = 1_000_000
MAX_TIMEOUT_S = 7 * 24 * 3600.0
# What is less was meant as seconds from now.
_YEAR_2001_S = 1e9
TASK_TYPE_NAMES = (
    "code_review", "refactor", "test_generation", "analysis", "question", "generic"
)  # fmt: skip
RESULT_STATUSES = ("success", "failed", "timeout", "partial")

# Ids become names of files and folders. 128 leaves room below the 255 bytes of a file name.
_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")

_MAX_SHOWN_CHARS = 200


class InvalidTask(AgentError):
    """A task, or a result, that cannot be taken as it is.

    Attributes:
        field: the field at fault, such as "priority" or "subtasks[1].files".
        value: what it was; a long one shortened.
        reason: what it must be.
        nearest: the valid word it may have meant, or None.
    """

    def __init__(self, field: str, value: object, reason: str, nearest: str | None = None) -> None:
        value = _shortened(value)
        super().__init__(field, value, reason, nearest)
        self.field = field
        self.value = value
        self.reason = reason
        self.nearest = nearest

    def __str__(self) -> str:
        hint = f" (did you mean {self.nearest!r}?)" if self.nearest else ""
        return f"invalid task: {self.field} is {self.value!r}; {self.reason}{hint}"


def check_fields(task: Task, priority_levels: int) -> None:
    """Refuse a task with a field that is out of its limits; subtasks are not looked into.

    Raises:
        InvalidTask: names the first such field.
    """
    _check_id(task.task_id)
    _check_word("task_type", task.task_type, TASK_TYPE_NAMES)
    _check_description(task.description)
    _check_files(task.files)
    _check_priority(task.priority, priority_levels)
    _check_timeout(task.timeout)
    _check_deadline(task.deadline)
    _check_optional_text("repo", task.repo)
    for name in ("context_id", "role", "agent", "parent", "given_by"):
        _check_optional_text(name, getattr(task, name))
    _check_flag("parallel", task.parallel)
    _check_flag("include_uncommitted", task.include_uncommitted)
    _check_flag("include_untracked", task.include_untracked)
    if task.include_untracked and not task.include_uncommitted:
        reason = "untracked files are in no commit, so include_uncommitted is needed, too"
        raise InvalidTask("include_untracked", True, reason)  # noqa: FBT003 - a value, no switch
    _check_flag("is_ask", task.is_ask)
    _check_subtasks(task.subtasks)
    told = task.description.strip() or task.subtasks
    if task.task_type in ("generic", "question") and not told:
        reason = f"a {task.task_type} task needs to be told what to do"
        raise InvalidTask("description", task.description, reason)


def check_known_keys(where: str, definition: object, known: Collection[str]) -> None:
    """Refuse a subtask definition that is no mapping or has a key that means nothing.

    Raises:
        InvalidTask: with the nearest key that does mean something.
    """
    if not isinstance(definition, dict):
        raise InvalidTask(where, definition, f"a mapping is needed, with {_listed(known)}")
    for key in cast("dict[object, object]", definition):
        if key not in known:
            reason = f"a subtask knows only {_listed(known)}"
            raise InvalidTask(where, key, reason, nearest_of(key, known))


def check_result_fields(result: TaskResult) -> None:
    """Refuse a result with an unknown status.

    Raises:
        InvalidTask: with the nearest known status.
    """
    _check_word("status", result.status, RESULT_STATUSES)


def _check_id(task_id: object) -> None:
    if not isinstance(task_id, str) or not _TASK_ID.fullmatch(task_id):
        reason = "up to 128 letters, digits and . _ : @ + - are needed, a letter or digit first"
        raise InvalidTask("task_id", task_id, reason)


def _check_word(field: str, value: object, known: Collection[str]) -> None:
    if value not in known:
        reason = f"one of {_listed(known)} is needed"
        raise InvalidTask(field, value, reason, nearest_of(value, known))


def _check_description(text: object) -> None:
    if not isinstance(text, str):
        raise InvalidTask("description", text, "text is needed")
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidTask("description", text, "it is not valid Unicode text") from None
    if size_bytes > MAX_DESCRIPTION_BYTES:
        reason = (
            f"it has {size_bytes:,} bytes, at most {MAX_DESCRIPTION_BYTES:,} are taken;"
            " put long texts in a file and name it in files"
        )
        raise InvalidTask("description", text, reason)


def _check_files(files: object) -> None:
    if not isinstance(files, list):
        raise InvalidTask("files", files, "a list of paths is needed")
    for i, path in enumerate(cast("list[object]", files)):
        if not isinstance(path, str) or not path or "\0" in path:
            raise InvalidTask(f"files[{i}]", path, "a path is needed")


def _check_priority(priority: object, levels: int) -> None:
    if type(priority) is not int or not 1 <= priority <= levels:
        reason = f"a whole number from 1 to {levels} is needed, {levels} is the most urgent"
        raise InvalidTask("priority", priority, reason)


def _check_timeout(timeout: object) -> None:
    number = timeout if isinstance(timeout, (int, float)) else math.nan
    # "Not a number" compares as false.
    if isinstance(timeout, bool) or not 0 < number <= MAX_TIMEOUT_S:
        reason = f"seconds above 0 are needed, at most {MAX_TIMEOUT_S:,.0f} (7 days)"
        raise InvalidTask("timeout", timeout, reason)


def _check_deadline(deadline: object) -> None:
    if deadline is None:
        return
    number = deadline if isinstance(deadline, (int, float)) else math.nan
    if isinstance(deadline, bool) or not _YEAR_2001_S < number < math.inf:
        reason = "seconds since the epoch are needed, such as time.time() + 600, or None"
        raise InvalidTask("deadline", deadline, reason)


def _check_optional_text(field: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value or "\0" in value):
        raise InvalidTask(field, value, "text or None is needed")


def _check_flag(field: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidTask(field, value, "True or False is needed")


def _check_subtasks(subtasks: object) -> None:
    if subtasks is not None and not isinstance(subtasks, list):
        raise InvalidTask("subtasks", subtasks, "a list of definitions is needed")


def nearest_of(word: object, known: Collection[str]) -> str | None:
    """The known word that this one may have meant."""
    return next(iter(difflib.get_close_matches(str(word), known, n=1)), None)


def _listed(words: Collection[str]) -> str:
    return ", ".join(words)


def _shortened(value: object) -> object:
    # The error crosses processes and reaches terminals: a description of a megabyte stays behind.
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str) and len(value) <= _MAX_SHOWN_CHARS:
        return value
    return reprlib.repr(value)
