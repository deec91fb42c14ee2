"""What stands behind the tools by which agents reach each other, and how it says no.

Every error's text is read by a model: it says what is wrong and what can be done instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .mcp import Cancellation


class BackendError(AgentError):
    """The fleet cannot do what an agent asked for; the agent is told why, and goes on."""


class UnknownAgent(BackendError):
    """No agent, and no role, has that name."""

    def __init__(self, name: str, nearest: str | None = None) -> None:
        super().__init__(name, nearest)
        self.name = name
        self.nearest = nearest

    def __str__(self) -> str:
        hint = f" (did you mean {self.nearest!r}?)" if self.nearest else ""
        return f"there is no agent {self.name!r}{hint}; list_agents says who there is"


class AgentGone(BackendError):
    """The agent is not running: it has ended, or ended while it was asked."""

    def __init__(self, name: str, reason: str = "it is not running") -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.name} cannot answer: {self.reason}. It may have begun what you asked. Ask "
            "another agent, send_message it for later, or go on without it"
        )


class AskCycle(BackendError):
    """The asked agent waits, over others or not, for the one who asks: both would wait for ever."""

    def __init__(self, chain: tuple[str, ...]) -> None:
        super().__init__(chain)
        self.chain = chain

    def __str__(self) -> str:
        waits = " waits for ".join(self.chain)
        return (
            f"it would wait for ever: {waits}. Do not try again. Answer the question you were "
            "asked with what you know, or say in your answer what you need to be told; "
            "send_message does not wait and is possible"
        )


class NobodyIsFree(BackendError):
    """All others who could take it wait already, and for each other; or there are none."""

    def __init__(self, waiting: tuple[str, ...]) -> None:
        super().__init__(waiting)
        self.waiting = waiting

    def __str__(self) -> str:
        who = "nobody but you could take it"
        if self.waiting:
            who = f"everybody else who could take it waits already ({', '.join(self.waiting)})"
        return (
            f"it would wait for ever: {who}. Do it yourself, or end your turn with what you have "
            "and say what is missing; what you delegated runs once an agent is free"
        )


class TaskFailed(BackendError):
    """The asked agent's turn ended without an answer."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.name} gave no answer: {self.reason}. Ask in another way, ask another agent, or "
            "go on without it"
        )


class TurnOver(BackendError):
    """The task in whose turn the call was made is over, or was taken from the agent."""

    def __str__(self) -> str:
        return "your turn is over: nobody waits for this call any more"


class OutOfReach(BackendError):
    """The fleet cannot be reached, or does not answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the others are out of reach: {self.reason}. Go on without them"


class Refused(BackendError):
    """The fleet says no, in its own words."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


class AskTimeout(BackendError):
    """The asked agent did not answer in time."""

    def __init__(self, name: str, timeout_s: float) -> None:
        super().__init__(name, timeout_s)
        self.name = name
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return (
            f"{self.name} gave no answer within {self.timeout_s:g} s; its work on it was stopped. "
            "Ask something smaller, allow more time, or use delegate_task and look at it later"
        )


class MailboxIsFull(BackendError):
    """The receiver has as many unread messages as it may have."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} has too many unread messages; the message was not sent. Try it later"


class UnknownTask(BackendError):
    """No task has that id, or it is none of the caller's."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"there is no task {self.task_id!r} of yours; delegate_task returned the right id"


class TaskRefused(BackendError):
    """The task cannot be taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the task was not taken: {self.reason}"


@dataclass(frozen=True)
class AgentInfo:
    """An agent as the others see it. `state` is one word, as idle, busy, starting or gone."""

    name: str
    role: str
    state: str


@dataclass(frozen=True)
class Received:
    """A message of another agent. `sent_at` is in epoch seconds."""

    message_id: str
    sender: str
    text: str
    sent_at: float


@dataclass(frozen=True)
class TaskView:
    """A task as its giver sees it.

    `state` is one of submitted, working, input_required, completed, failed, canceled and rejected;
    `agent` is who has it or had it last; `result` is there when it is completed, `error` when not.
    `branch` is where its work lies in the user's repository.
    """

    task_id: str
    state: str
    agent: str | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None
    branch: str | None = None


class ToolBackend(Protocol):
    """The fleet as seen by the tools of one of its agents, who is named by `caller`.

    Each method is called in a thread of its own and may wait; it ends within its time whatever
    happens, with an error at once when the one it waits for is gone. When the cancellation comes it
    ends soon and cancels what it had started: whoever was asked is to stop working on it.
    """

    def list_agents(self, caller: str) -> Sequence[AgentInfo]:
        """The other agents."""
        ...

    def ask_agent(
        self,
        caller: str,
        to: str,
        question: str,
        files: Sequence[str],
        timeout_s: float,
        cancellation: Cancellation,
    ) -> str:
        """Have an agent, named by itself or its role, answer in a turn of its own; its answer.

        Raises:
            BackendError: there is no answer.
        """
        ...

    def send_message(self, caller: str, to: str, text: str) -> str:
        """Put a message into the other's mailbox; the message's id.

        Raises:
            UnknownAgent, AgentGone, MailboxIsFull: it was not sent.
        """
        ...

    def read_messages(
        self, caller: str, limit: int, wait_s: float, cancellation: Cancellation
    ) -> Sequence[Received]:
        """Take the oldest messages out of the caller's mailbox; wait so long for a first one."""
        ...

    def delegate_task(
        self,
        caller: str,
        task_type: str,
        description: str,
        files: Sequence[str],
        to: str | None,
    ) -> str:
        """Give a task to the fleet, or to one agent or role of it; the task's id. Does not wait.

        Raises:
            TaskRefused, UnknownAgent: it was not taken.
        """
        ...

    def get_task(self, caller: str, task_id: str) -> TaskView:
        """How a task stands.

        Raises:
            UnknownTask: there is none of the caller's.
        """
        ...

    def wait_task(
        self, caller: str, task_id: str, timeout_s: float, cancellation: Cancellation
    ) -> TaskView:
        """How a task stands once it is over, or after `timeout_s`.

        Raises:
            UnknownTask, AgentGone, AskCycle, NobodyIsFree: it cannot be waited for.
        """
        ...
