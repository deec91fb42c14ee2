"""The service's control socket: what the command line asks of it, and how it answers.

A request is a `task_request` message with a `verb`; the answer a `task_response`, or an `error`
with a text for people. A watched task's events come as `status_update` messages.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from understudy.actors.errors import AgentError
from understudy.actors.events import TaskEvent
from understudy.actors.tasks.task import Task, TaskResult
from understudy.transport import AgentMessage, ChannelClosed, MessageType, UnixSocketChannel
from understudy.transport.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from understudy.actors.handle import TaskHandle
    from understudy.orchestrator import Orchestrator

_log = logging.getLogger(__name__)

SERVICE = "service"
_ANSWER_S = 60.0
_MAX_UPDATES = 10_000


def _answered(call: dict[str, Any] | None) -> dict[str, Any]:
    return {"answered": call is not None, "call": call}


# What is asked without a watch, by its verb.
_VERBS: dict[str, Callable[[Orchestrator, dict[str, Any]], dict[str, Any]]] = {
    "status": lambda fleet, _: fleet.status(),
    "tree": lambda fleet, _: fleet.tree(),
    "results": lambda fleet, asked: {
        "results": [r.to_wire() for r in map(fleet.get_task_result, asked["task_ids"]) if r]
    },
    "cancel": lambda fleet, asked: {"canceled": fleet.cancel(asked["task_id"])},
    "answer": lambda fleet, asked: _answered(
        fleet.settle_call(
            asked["task_id"], allow=asked["allow"], text=asked["text"], call=asked.get("call")
        )
    ),
    "replay": lambda fleet, asked: {"replayed": fleet.replay(asked["task_id"]) is not None},
    "restart": lambda fleet, asked: fleet.begin_restart(asked["agent"]),
    "suspend": lambda fleet, asked: fleet.suspend_agent(asked["agent"], now=asked["now"]),
    "resume": lambda fleet, asked: fleet.resume_agent(asked["agent"]),
    "stop": lambda _fleet, _asked: {"stopping": True},
}


class ServiceError(AgentError):
    """The service refused or could not do what was asked; its own words.

    Attributes:
        exit_code_of_command: for a command that ends with it; None: the usual one.
    """

    def __init__(self, text: str, exit_code: int | None = None) -> None:
        super().__init__(text, exit_code)
        self.text = text
        self.exit_code_of_command = exit_code

    def __str__(self) -> str:
        return self.text


class ControlServer:
    """Serves the control socket in a thread of its own.

    Args:
        stop: asks the service to end; must return at once.

    Raises:
        SocketInUse: another service answers on that path.
        SocketPathTooLong: the path has more than 107 bytes.
    """

    def __init__(
        self, socket_path: str, orchestrator: Orchestrator, stop: Callable[[], None]
    ) -> None:
        self._orchestrator = orchestrator
        self._stop = stop
        self._closed = threading.Event()
        self._channel = UnixSocketChannel(socket_path, is_server=True, name=SERVICE)
        self._thread = threading.Thread(target=self._serve, name="understudy-control", daemon=True)

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and remove the socket."""
        self._closed.set()
        self._channel.close()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _serve(self) -> None:
        while True:
            try:
                request = self._channel.receive(timeout=1.0)
            except ChannelClosed:
                return
            if request is not None and request.message_type is MessageType.TASK_REQUEST:
                self._answer(request)

    def _answer(self, request: AgentMessage) -> None:
        try:
            payload = self._do(request)
            kind = MessageType.TASK_RESPONSE
        except (AgentError, TransportError) as error:
            code = getattr(error, "exit_code_of_command", None)
            payload = {"error": str(error), "type": type(error).__name__, "exit_code": code}
            kind = MessageType.ERROR
        except Exception as error:  # noqa: BLE001 - one bad request must not end the service
            _log.warning("a request failed", exc_info=True)
            payload = {"error": f"the request is not understood: {error!r}", "type": "BadRequest"}
            kind = MessageType.ERROR
        self._send(request, kind, payload)
        if payload.get("stopping") is True:
            self._stop()

    def _do(self, request: AgentMessage) -> dict[str, Any]:
        payload = request.payload
        verb = payload["verb"]
        if verb == "submit":
            return self._submit(request)
        if verb not in _VERBS:
            raise ServiceError(f"the service does not know {verb!r}")
        return _VERBS[verb](self._orchestrator, payload)

    def _submit(self, request: AgentMessage) -> dict[str, Any]:
        tasks = [Task.from_wire(task) for task in request.payload["tasks"]]
        handles = self._orchestrator.submit_all(tasks)
        if request.payload.get("watch"):
            self._watch(request, handles)
        return {"task_ids": [handle.task_id for handle in handles]}

    def _watch(self, request: AgentMessage, handles: list[TaskHandle]) -> None:
        """Send the handles' events from a thread of their own.

        A client that stops reading must hold up nobody: what it cannot take is dropped, and it can
        ask for the results later.
        """
        updates: queue.Queue[dict[str, Any]] = queue.Queue(_MAX_UPDATES)

        def tell(handle: TaskHandle, event: TaskEvent | None) -> None:
            update = {"event": event.to_wire()} if event else {"result": handle.wait(0).to_wire()}
            with contextlib.suppress(queue.Full):
                updates.put_nowait(update)

        def send_all() -> None:
            left = len(handles)
            while left and not self._closed.is_set():
                with contextlib.suppress(queue.Empty):
                    update = updates.get(timeout=1.0)
                    left -= "result" in update
                    if not self._send(request, MessageType.STATUS_UPDATE, update):
                        return

        for handle in handles:
            handle.subscribe(partial(tell, handle))
        threading.Thread(target=send_all, name="understudy-watch", daemon=True).start()

    def _send(self, request: AgentMessage, kind: MessageType, payload: dict[str, Any]) -> bool:
        answer = AgentMessage.create(
            SERVICE, request.sender_id, kind, payload, correlation_id=request.message_id
        )
        try:
            self._channel.send(answer)
        except TransportError:
            return False  # the client went away or does not read; its tasks go on
        return True


class ServiceClient:
    """A connection to the running service.

    Raises:
        TransportError: none answers on that path.
    """

    def __init__(self, socket_path: str, *, connect_timeout_s: float = 1.0) -> None:
        self._channel = UnixSocketChannel(socket_path, connect_timeout_s=connect_timeout_s)
        self._waiting: list[AgentMessage] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave; the service goes on."""
        self._channel.close()

    def call(self, verb: str, *, timeout_s: float = _ANSWER_S, **args: Any) -> dict[str, Any]:  # noqa: ANN401 - plain data
        """Ask and wait for the answer.

        Raises:
            ServiceError: the service refused, ended, or did not answer in time.
        """
        request = AgentMessage.create(
            self._channel.name, SERVICE, MessageType.TASK_REQUEST, {"verb": verb, **args}
        )
        self._channel.send(request)
        ends = time.monotonic() + timeout_s
        while (left_s := ends - time.monotonic()) > 0:
            message = self._receive(left_s)
            if message is None:
                continue
            if message.correlation_id != request.message_id:
                continue
            if message.message_type is MessageType.TASK_RESPONSE:
                return message.payload
            if message.message_type is MessageType.ERROR:
                text = str(message.payload.get("error") or message.payload)
                raise ServiceError(text, message.payload.get("exit_code"))
            self._waiting.append(message)
        raise ServiceError(f"the service did not answer {verb!r} within {timeout_s:g} s")

    def updates(self) -> Iterator[TaskEvent | TaskResult | None]:
        """Events and results of the watched tasks as they come; None once a second in between.

        Raises:
            ServiceError: the service went away.
        """
        while True:
            message = self._waiting.pop(0) if self._waiting else self._receive(1.0)
            if message is None:
                yield None
            elif "event" in message.payload:
                yield TaskEvent.from_wire(message.payload["event"])
            elif "result" in message.payload:
                yield TaskResult.from_wire(message.payload["result"])

    def _receive(self, timeout_s: float) -> AgentMessage | None:
        try:
            return self._channel.receive(timeout=timeout_s)
        except ChannelClosed:
            message = "the service went away; its accepted tasks run again when it is back"
            raise ServiceError(message) from None
