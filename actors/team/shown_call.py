"""A call that needs somebody's yes, as people see it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import AgentError
from ..printable import all_visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SHOWN_CHARS = 2000
SEE_ALL = "`understudy status --json` shows all"


def call_text(asked: Mapping[str, Any], *, see_all: str = SEE_ALL) -> str:
    """Tool and input on one line, nothing in it unseen; a cut says how much is missing.

    Args:
        asked: with `tool` and `input`, as in the status.
        see_all: how the rest can be seen, in words.
    """
    tool, text = all_visible(str(asked["tool"])), str(asked["input"])
    more = len(text) - _MAX_SHOWN_CHARS
    mark = f" … {more} more characters: {see_all}" if more > 0 else ""
    return f"{tool} {all_visible(text[:_MAX_SHOWN_CHARS])}{mark}"


class SeveralCalls(AgentError):
    """A task asks for more than one call, and it was not said which is meant.

    Attributes:
        task_id: the task.
        calls: the id of each, and what is asked, in words.
    """

    exit_code_of_command = 2

    def __init__(self, task_id: str, calls: tuple[str, ...]) -> None:
        super().__init__(task_id, calls)
        self.task_id = task_id
        self.calls = calls

    def __str__(self) -> str:
        text = f"task {self.task_id} asks for {len(self.calls)} calls; name one with --call"
        return "\n  ".join([text, *self.calls])
