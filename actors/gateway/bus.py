"""The gateway on the agents' bus: usage goes out, commands come in. Two threads beside the loop."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

from understudy.transport import (
    DEFAULT_SERVER_NAME,
    Agent2AgentProtocol,
    ChannelClosed,
    MessageType,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.transport import AgentMessage, Channel

_log = logging.getLogger(__name__)

_WAIT_S = 5.0
_MAX_REPORTS = 10_000


class GatewayBus:
    """Carries reports to the orchestrator and its commands to the gateway.

    A command is a COORDINATION message `{"command": "open", "agent_id", "socket_path"}` or
    `{"command": "close", "agent_id"}`. Each gets an answer with its id as correlation: a
    COORDINATION message `{"command": "opened" | "closed", "agent_id"}`, or an ERROR that says why.
    `{"command": "assign", "agent_id", "task_id", "priority", "budget"}` says what the agent works
    on from now on; it gets no answer. `budget` may be left out: it replaces the task's caps. So may
    `above`: the tasks in which this one was given away, each with `task_id` and `budget`.

    Args:
        name: of the gateway on the bus.
        channel: connected; closed by `close`.
        incarnation: the number of this gateway's start.
        on_command: carries a command out, in the bus's own thread; raises what went wrong.
        on_lost: called once, in that thread, when the bus goes away by itself.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        *,
        incarnation: int,
        on_command: Callable[[dict[str, Any]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._protocol = Agent2AgentProtocol(name, channel, incarnation=incarnation)
        self._protocol.register_handler(MessageType.COORDINATION, self._on_coordination)
        self._on_command = on_command
        self._on_lost = on_lost
        self._is_closing = threading.Event()
        self._reports: queue.Queue[dict[str, Any] | None] = queue.Queue(_MAX_REPORTS)
        self._threads = [
            threading.Thread(target=self._read, name="understudy-gateway-commands", daemon=True),
            threading.Thread(target=self._write, name="understudy-gateway-reports", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def report(self, usage: dict[str, Any]) -> None:
        """Send usage to the orchestrator. Never blocks; drops, with a warning, if nobody reads."""
        try:
            self._reports.put_nowait(usage)
        except queue.Full:
            _log.warning("the bus does not keep up; a usage report is dropped: %r", usage)

    def close(self) -> None:
        """Send what waits, end both threads, close the channel. Not for the loop's own thread."""
        self._is_closing.set()
        reader, writer = self._threads
        try:
            self._reports.put(None, timeout=_WAIT_S)
        except queue.Full:
            _log.warning("usage reports are lost: nobody reads the bus")
        writer.join(_WAIT_S)
        self._channel.close()
        reader.join(_WAIT_S)

    def _write(self) -> None:
        while (usage := self._reports.get()) is not None:
            try:
                self._protocol.send(DEFAULT_SERVER_NAME, MessageType.STATUS_UPDATE, usage)
            except TransportError as error:
                _log.warning("a usage report is lost: %s", error)

    def _read(self) -> None:
        while not self._is_closing.is_set():
            try:
                self._protocol.process_messages(_WAIT_S)
            except ChannelClosed:
                if not self._is_closing.is_set():
                    self._on_lost()
                return

    def _on_coordination(self, message: AgentMessage) -> None:
        command = message.payload
        if command.get("command") not in ("open", "close", "assign"):
            _log.debug("not a command for the gateway: %r", command)
            return
        kind, answer = MessageType.COORDINATION, _done(command)
        try:
            self._on_command(command)
        except Exception as error:  # noqa: BLE001 - whoever gave the command is told
            kind = MessageType.ERROR
            answer = {"kind": type(error).__name__, "message": str(error), **_who(command)}
        if command["command"] == "assign":
            return
        self._protocol.send(message.sender_id, kind, answer, correlation_id=message.message_id)


def _done(command: dict[str, Any]) -> dict[str, Any]:
    words = {"open": "opened", "close": "closed"}
    return {"command": words.get(command["command"]), **_who(command)}


def _who(command: dict[str, Any]) -> dict[str, Any]:
    return {"agent_id": command.get("agent_id")}
