"""What can go wrong in a talk with the Claude Code CLI, by whose fault it is."""

from __future__ import annotations

from ..errors import AgentError

_TAIL_CHARS = 400


class ClaudeError(AgentError):
    """The talk with a CLI went wrong."""


class ClaudeDied(ClaudeError):
    """The CLI ended, or its output cannot be followed any more. A new one is needed."""

    def __init__(self, detail: str, stderr_tail: str = "", exit_code: int | None = None) -> None:
        super().__init__(detail, stderr_tail, exit_code)
        self.detail = detail
        self.stderr_tail = stderr_tail
        self.exit_code = exit_code

    def __str__(self) -> str:
        said = self.stderr_tail.strip()[-_TAIL_CHARS:]
        code = "" if self.exit_code is None else f" (exit code {self.exit_code})"
        return f"{self.detail}{code}" + (f"; it last said: {said}" if said else "")


class ClaudeUnresponsive(ClaudeError):
    """The CLI lives but did not answer in time."""

    def __init__(self, what: str, timeout_s: float) -> None:
        super().__init__(what, timeout_s)
        self.what = what
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"the CLI did not {self.what} within {self.timeout_s:g} s"


class ControlRefused(ClaudeError):
    """The CLI answered a control request with an error."""

    def __init__(self, subtype: str, reason: str) -> None:
        super().__init__(subtype, reason)
        self.subtype = subtype
        self.reason = reason

    def __str__(self) -> str:
        return f"the CLI refused the control request {self.subtype!r}: {self.reason}"


class ClearFailed(ClaudeError):
    """`/clear` did not lead to a new conversation: the CLI must not serve another task."""

    def __init__(self, session_id: str | None, reason: str) -> None:
        super().__init__(session_id, reason)
        self.session_id = session_id
        self.reason = reason

    def __str__(self) -> str:
        return f"the conversation {self.session_id} could not be cleared: {self.reason}"


class TurnInProgress(ClaudeError):
    """A turn was asked for while another runs: a caller's mistake, or an unsettled interrupt."""

    def __str__(self) -> str:
        return "the CLI is still in a turn; wait for its result or replace the CLI"


class TurnEnded(ClaudeError):
    """A turn was given up from outside.

    `settled` says whether the CLI has ended the turn too: then it can take the next one, and what
    the turn cost is known. Otherwise every further turn is refused with `TurnInProgress`.
    """

    def __init__(self, limit_s: float = 0.0, settled: bool = True) -> None:
        super().__init__(limit_s, settled)
        self.limit_s = limit_s
        self.settled = settled


class TurnTimeout(TurnEnded):
    """The turn was not done within its time; it was interrupted."""

    def __str__(self) -> str:
        return f"the turn was not done within {self.limit_s:g} s"


class TurnStalled(TurnEnded):
    """The CLI showed no sign of life for too long in a turn; it was interrupted."""

    def __str__(self) -> str:
        return f"the CLI gave no sign of life for {self.limit_s:g} s in the middle of a turn"


class TurnLost(TurnStalled):
    """The CLI came to rest in the middle of a turn: no result will come. It is to be replaced."""

    def __str__(self) -> str:
        return f"the CLI came to rest and gave no result within {self.limit_s:g} s"


class TurnCancelled(TurnEnded):
    """The turn was cancelled on request."""

    def __str__(self) -> str:
        return "the turn was cancelled"
