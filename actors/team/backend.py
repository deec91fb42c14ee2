"""An agent's way to the others: its tool calls go to the root over the bus, as requests."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING, Any

from understudy.transport import AgentMessage, MessageType, TransportError

from ..claude.backend import (
    AgentInfo,
    OutOfReach,
    Received,
    Refused,
    TaskView,
    TurnOver,
)
from ..fleet_places import ORCHESTRATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from understudy.transport import Agent2AgentProtocol

    from ..claude import Cancellation

# The root is one process away and waits for nobody: more than this, and it is stuck.
_ANSWER_S = 30.0


class FleetBackend:
    """Implements `ToolBackend`. Any thread.

    Args:
        protocol: whoever pumps it must not be one of the callers here.
        work: the id of the task that the agent works on and the number of this run, or None.
    """

    def __init__(
        self, protocol: Agent2AgentProtocol, work: Callable[[], tuple[str, int] | None]
    ) -> None:
        self._protocol = protocol
        self._work = work

    def list_agents(self, caller: str) -> Sequence[AgentInfo]:
        """See `ToolBackend`; so for all of them."""
        del caller
        return [AgentInfo(**agent) for agent in self._ask("list_agents")["agents"]]

    def ask_agent(
        self,
        caller: str,
        to: str,
        question: str,
        files: Sequence[str],
        timeout_s: float,
        cancellation: Cancellation,
    ) -> str:
        """See `ToolBackend`."""
        del caller
        asked = {"to": to, "question": question, "files": list(files), "timeout_s": timeout_s}
        return str(self._ask("ask_agent", asked, timeout_s, cancellation)["answer"])

    def send_message(self, caller: str, to: str, text: str) -> str:
        """See `ToolBackend`."""
        del caller
        return str(self._ask("send_message", {"to": to, "text": text})["sent"])

    def read_messages(
        self, caller: str, limit: int, wait_s: float, cancellation: Cancellation
    ) -> Sequence[Received]:
        """See `ToolBackend`."""
        del caller
        asked = {"limit": limit, "wait_s": wait_s}
        found = self._ask("read_messages", asked, wait_s, cancellation)["messages"]
        return [Received(m["id"], m["from"], m["text"], m["sent_at"]) for m in found]

    def delegate_task(
        self,
        caller: str,
        task_type: str,
        description: str,
        files: Sequence[str],
        to: str | None,
    ) -> str:
        """See `ToolBackend`."""
        del caller
        asked = {"task_type": task_type, "description": description, "files": list(files), "to": to}
        return str(self._ask("delegate_task", asked)["id"])

    def get_task(self, caller: str, task_id: str) -> TaskView:
        """See `ToolBackend`."""
        del caller
        return _view(self._ask("get_task", {"id": task_id}))

    def wait_task(
        self, caller: str, task_id: str, timeout_s: float, cancellation: Cancellation
    ) -> TaskView:
        """See `ToolBackend`."""
        del caller
        asked = {"id": task_id, "timeout_s": timeout_s}
        return _view(self._ask("wait_task", asked, timeout_s, cancellation))

    def _ask(
        self,
        tool: str,
        arguments: dict[str, Any] | None = None,
        wait_s: float = 0.0,
        cancellation: Cancellation | None = None,
    ) -> dict[str, Any]:
        work = self._work()
        if work is None:
            raise TurnOver
        task_id, number = work
        payload = {"team": tool, "task_id": task_id, "number": number, **(arguments or {})}
        answers: queue.SimpleQueue[AgentMessage | None] = queue.SimpleQueue()
        limit_s = wait_s + _ANSWER_S
        try:
            call_id = self._protocol.send_task_request(
                ORCHESTRATOR, payload, answers.put, timeout_s=limit_s
            )
        except TransportError as error:
            raise OutOfReach(str(error)) from None
        if cancellation is not None:
            cancellation.on_cancel(lambda: self._withdraw(call_id, answers))
        try:
            return _content(answers.get(timeout=limit_s + _ANSWER_S))
        except queue.Empty:
            raise OutOfReach("nothing was heard of the orchestrator") from None

    def _withdraw(self, call_id: str, answers: queue.SimpleQueue[AgentMessage | None]) -> None:
        payload = {"kind": "withdraw", "call_id": call_id}
        with contextlib.suppress(TransportError):
            self._protocol.send(ORCHESTRATOR, MessageType.STATUS_UPDATE, payload)
        answers.put(None)


def _content(answer: AgentMessage | None) -> dict[str, Any]:
    if answer is None:
        raise TurnOver
    if answer.message_type is not MessageType.TASK_RESPONSE:
        raise OutOfReach(str(answer.payload.get("message") or answer.payload.get("kind")))
    if refused := answer.payload.get("refused"):
        raise Refused(str(refused))
    return answer.payload


def _view(data: dict[str, Any]) -> TaskView:
    return TaskView(
        data["id"], data["state"], data["agent"], data["result"], data["error"], data["branch"]
    )
