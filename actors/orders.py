"""What the root says to its agents, and how they answer it."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pykka

from understudy.transport import MessageType, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from understudy.transport import Agent2AgentProtocol, AgentMessage

    from .running import Running
    from .tasks.task import Task

_log = logging.getLogger(__name__)

# The gateway's name on the bus.
GATEWAY = "gateway"


class Orders:
    """The root's end of the bus. What agents say goes to `tell`, in the bus's thread."""

    def __init__(self, protocol: Agent2AgentProtocol, tell: Callable[[object], None]) -> None:
        self._protocol = protocol
        self._tell = tell

    def listen(self) -> None:
        """Hear what agents say without being asked, what they ask, and what came of their tasks."""
        for kind in (MessageType.STATUS_UPDATE, MessageType.ERROR, MessageType.TASK_REQUEST):
            self._protocol.register_handler(kind, self._tell)
        self._protocol.register_handler(MessageType.TASK_RESPONSE, self._heard)

    def give(self, agent_id: str, order: dict[str, Any], *, timeout_s: float) -> None:
        """Send the agent a task; after `timeout_s` it does not begin with it any more.

        Its answer comes as what agents say does, however long that takes.

        Raises:
            EncodeError, FrameTooLarge: this order can reach nobody.
            TransportError: the agent is out of reach.
        """
        self._protocol.send_task_request(agent_id, order, timeout_s=timeout_s)

    def answer(self, request: AgentMessage, payload: dict[str, Any]) -> None:
        """Answer what an agent asked; one that is out of reach waits no more."""
        try:
            self._protocol.send_task_response(request, payload)
        except TransportError as error:
            _log.info("no answer to %s: %s", request.sender_id, error)

    def assign(
        self,
        agent_id: str,
        task: Task,
        budget: dict[str, Any] | None = None,
        above: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Tell the gateway on whose account the agent's requests go, and how urgent they are.

        `budget` is in place of the configuration's caps for any task. `above` are the tasks in
        which this one was given away, with their own: what is spent on it counts for them, too.
        """
        task_id = task.task_id
        payload: dict[str, Any] = {
            "command": "assign",
            "agent_id": agent_id,
            "task_id": task_id,
            "priority": task.priority,
        }
        if budget is not None:
            payload["budget"] = budget
        if above:
            payload["above"] = list(above)
        try:
            self._protocol.send(GATEWAY, MessageType.COORDINATION, payload)
        except TransportError as error:
            _log.info("the gateway is not told of %s: %s", task_id, error)

    def tell_agent(self, agent_id: str, payload: dict[str, Any]) -> None:
        """Send the agent a command; one that is out of reach is not told."""
        try:
            self._protocol.send(agent_id, MessageType.COORDINATION, payload)
        except TransportError as error:
            _log.info("not delivered to %s: %s", agent_id, error)

    def cancel(self, running: Running) -> None:
        """Tell the agent to end that run of the task; one that is out of reach is not told."""
        agent_id, number = running.agent_id, running.number
        task_id, is_over = running.task.task_id, running.recalled is None
        payload = {"command": "cancel", "task_id": task_id, "number": number, "is_over": is_over}
        self.tell_agent(agent_id, payload)

    def _heard(self, message: AgentMessage) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            self._tell(message)
