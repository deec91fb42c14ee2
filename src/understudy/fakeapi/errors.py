"""What can go wrong with the scripted model."""

from __future__ import annotations

from understudy.actors.errors import AgentError


class FakeApiError(AgentError):
    """The scripted model cannot start as it was told to.

    Attributes:
        what: a file, an address or a step.
        reason: what is wrong with it.
        mend: what to do about it.
    """

    exit_code_of_command = 2

    def __init__(self, what: str, reason: str, mend: str) -> None:
        super().__init__(what, reason, mend)
        self.what = what
        self.reason = reason
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what} {self.reason}; {self.mend}"
