"""Agent2AgentProtocol: requests and their answers, over any channel."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .answers import Answers
from .base import Named
from .codec import decode, encode
from .errors import ChannelClosed, TransportError
from .message import AgentMessage, ErrorKind, MessageType
from .pending import Pending, PendingRequests
from .stats import ProtocolStats, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Channel

_log = logging.getLogger(__name__)

_ANSWERS = frozenset({MessageType.TASK_RESPONSE, MessageType.ERROR})
_NOT_TAKEN = frozenset({ErrorKind.OVERLOADED, ErrorKind.PEER_UNKNOWN})
"""The request did not get there, and may the next time."""


class Agent2AgentProtocol:
    """An agent's way to talk: handlers by message type, requests with callbacks.

    Nothing runs by itself: whoever calls `process_messages` runs the handlers and callbacks, in
    that thread. All methods may be called from any thread, also from handlers.

    A request's callback is called exactly once: with the answer, with the ERROR that came back,
    with an ERROR of kind "timeout", or with one of kind "closed" when the channel or the protocol
    was closed first.

    A request that has a time limit and a callback is sent again, as the same message, when no
    answer came: up to `retry_count` times, evenly within its time. Its receiver runs it once: when
    it comes again, the answer is sent again if there is one (of the last 10,000 requests, and up to
    16 MiB of answers). While it will be sent again, an ERROR that says it did not get there
    ("overloaded", "peer_unknown") is no answer. Without a time limit nothing is sent twice.

    Args:
        agent_id: the sender of everything sent here.
        channel: what carries it; its name is `agent_id`, or it was given none and gets this one.
            The protocol does not close it.
        incarnation: the number of this agent's start; in every message.
        retry_count: how often a request without an answer is sent again.
        clock: epoch seconds, for timestamps and the deadlines that travel.
        monotonic: monotonic seconds, for the time limits kept here: the epoch can jump.

    Raises:
        ValueError: the channel has another name; answers to `agent_id` would not reach it.
        TransportError: the channel cannot have that name, see `UnixSocketChannel.claim_name`.
    """

    def __init__(
        self,
        agent_id: str,
        channel: Channel,
        *,
        incarnation: int = 0,
        retry_count: int = 0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(channel, Named):
            _go_by(agent_id, channel)
        self.agent_id = agent_id
        self.channel = channel
        self._incarnation = incarnation
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._handlers: dict[MessageType, Callable[[AgentMessage], None]] = {}
        self._pending = PendingRequests()
        self._retry_count = retry_count
        self._answers = Answers()
        self._newest: dict[str, int] = {}
        self._stats = Recorder(ProtocolStats)
        self._is_closed = False

    @property
    def stats(self) -> ProtocolStats:
        """What was dropped, and what failed, so far."""
        return self._stats.snapshot()

    @property
    def pending(self) -> int:
        """How many requests await their answer."""
        return len(self._pending)

    def register_handler(
        self, message_type: MessageType, handler: Callable[[AgentMessage], None]
    ) -> None:
        """Have messages of a type handled, in the thread that calls `process_messages`.

        A later handler of the same type takes the earlier one's place. A handler that raises is
        logged and counted; the sender of a request then gets an ERROR of kind "handler_failed".
        """
        with self._lock:
            self._handlers[message_type] = handler

    def send_task_request(
        self,
        receiver_id: str,
        task: dict[str, Any],
        callback: Callable[[AgentMessage], None] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> str:
        """Ask an agent to do a task.

        Args:
            receiver_id: whom.
            task: the payload.
            callback: gets the answer, a TASK_RESPONSE or an ERROR, exactly once.
            timeout_s: after which the receiver does not start it any more, and the callback gets an
                ERROR of kind "timeout". None waits as long as both ends live.

        Returns:
            The request's message id, which its answer names.

        Raises:
            TransportError: it could not be sent (see `Channel.send`); the callback is not called.
            ValueError: the time is no number.
        """
        if timeout_s is not None and math.isnan(timeout_s):
            raise ValueError("timeout_s must be seconds, or None, not NaN")
        deadline = None if timeout_s is None else self._clock() + timeout_s
        request = self._write(receiver_id, MessageType.TASK_REQUEST, task, deadline=deadline)
        if callback is not None:
            self._expect(self._awaited(request, callback, timeout_s))
        try:
            self.channel.send(request)
        except TransportError:
            # Closed by another thread meanwhile, the callback may have been told already.
            if callback is None or self._pending.forget(request.message_id):
                raise
        return request.message_id

    def send_task_response(self, request_message: AgentMessage, result: dict[str, Any]) -> None:
        """Answer a task request.

        Raises:
            TransportError: see `Channel.send`.
        """
        answer = self._write(
            request_message.sender_id,
            MessageType.TASK_RESPONSE,
            result,
            correlation_id=request_message.message_id,
        )
        answer.task_id = request_message.task_id
        answer.context_id = request_message.context_id
        answer.traceparent = request_message.traceparent
        # Kept first: one that could not be sent is what an asker that asks again is after.
        self._answers.keep(answer)
        self.channel.send(answer)

    def send(
        self,
        receiver_id: str,
        message_type: MessageType,
        payload: dict[str, Any],
        *,
        correlation_id: str | None = None,
    ) -> str:
        """Send a message of any type; its id.

        Raises:
            TransportError: see `Channel.send`.
        """
        message = self._write(receiver_id, message_type, payload, correlation_id=correlation_id)
        self.channel.send(message)
        return message.message_id

    def process_messages(self, timeout_s: float = 0.1) -> bool:
        """Handle at most one message, and every request that ran out of time.

        Args:
            timeout_s: how long to wait for a message. A request made by another thread meanwhile
                may run out of time unnoticed until this wait is over.

        Returns:
            Whether anything was handled.

        Raises:
            ChannelClosed: the channel is closed. Every callback that waited was called first.
        """
        expired = self._expire()
        try:
            message = self.channel.receive(0.0 if expired else self._wait_s(timeout_s))
        except ChannelClosed as error:
            self._fail_all(str(error))
            raise
        if message is not None:
            self._handle(message)
        return self._expire() or expired or message is not None

    def close(self) -> None:
        """Tell every callback that waits that no answer will come. Leaves the channel open.

        Safe to call again.
        """
        with self._lock:
            self._is_closed = True
        self._fail_all(f"{self.agent_id} no longer waits for answers")

    def _write(
        self,
        receiver_id: str,
        message_type: MessageType,
        payload: dict[str, Any],
        *,
        correlation_id: str | None = None,
        deadline: float | None = None,
    ) -> AgentMessage:
        return AgentMessage.create(
            self.agent_id,
            receiver_id,
            message_type,
            payload,
            correlation_id=correlation_id,
            deadline=deadline,
            incarnation=self._incarnation,
            clock=self._clock,
        )

    def _awaited(
        self,
        request: AgentMessage,
        callback: Callable[[AgentMessage], None],
        timeout_s: float | None,
    ) -> Pending:
        if timeout_s is None or not self._retry_count:
            until_s = None if timeout_s is None else self._monotonic() + timeout_s
            return Pending(request, callback, until_s)
        now_s = self._monotonic()
        # What the caller changes of its task afterwards must not be said the second time.
        kept = replace(request, payload=decode(encode([request.payload]))[0])
        pause_s = timeout_s / (self._retry_count + 1)
        again_s = now_s + pause_s
        return Pending(kept, callback, now_s + timeout_s, again_s, pause_s, self._retry_count)

    def _expect(self, pending: Pending) -> None:
        with self._lock:
            if self._is_closed:
                raise ChannelClosed(self.agent_id, "the protocol was closed")
            self._pending.add(pending)

    def _wait_s(self, timeout_s: float) -> float:
        """How long to wait for a message without missing a time limit."""
        limit_s = self._pending.next_limit_s()
        if limit_s is None:
            return timeout_s
        return max(0.0, min(timeout_s, limit_s - self._monotonic()))

    def _expire(self) -> bool:
        over = self._pending.take_expired(self._monotonic())
        for pending in over:
            self._fail(pending, ErrorKind.TIMEOUT, "no answer came in time")
        for pending in self._pending.take_due(self._monotonic()):
            self._send_again(pending.request)
        return bool(over)

    def _send_again(self, request: AgentMessage) -> None:
        self._stats.add("retried")
        try:
            self.channel.send(request)
        except TransportError as error:
            # The next try, or the time limit, has the last word.
            _log.debug("%s cannot ask %s again: %s", self.agent_id, request.receiver_id, error)

    def _fail_all(self, reason: str) -> None:
        for pending in self._pending.take_all():
            self._fail(pending, ErrorKind.CLOSED, reason)

    def _fail(self, pending: Pending, kind: ErrorKind, reason: str) -> None:
        request = pending.request
        error = request.error_reply(request.receiver_id, kind, reason, clock=self._clock)
        assert error is not None, "a request is no ERROR"
        self._run(pending.callback, error)

    def _handle(self, message: AgentMessage) -> None:
        if self._is_stale(message):
            self._stats.add("stale")
        elif message.message_type in _ANSWERS and message.correlation_id is not None:
            self._on_answer(message, message.correlation_id)
        elif message.message_type is MessageType.TASK_REQUEST:
            self._on_request(message)
        else:
            self._dispatch(message)

    def _is_stale(self, message: AgentMessage) -> bool:
        """Whether a newer incarnation of the sender was heard before."""
        if not message.incarnation:
            # Its sender does not count its starts; and passing clients need not be remembered.
            return False
        with self._lock:
            newest = self._newest.get(message.sender_id, 0)
            self._newest[message.sender_id] = max(newest, message.incarnation)
        return message.incarnation < newest

    def _on_answer(self, message: AgentMessage, request_id: str) -> None:
        if _did_not_get_there(message) and self._pending.is_sent_again(request_id):
            return
        pending = self._pending.take(request_id)
        if pending is not None:
            self._run(pending.callback, message)
        elif self._pending.was_answered(request_id):
            self._stats.add("late")
        else:
            # Of a request without a callback, or of another kind of message.
            self._dispatch(message)

    def _on_request(self, message: AgentMessage) -> None:
        if not self._answers.begin(message):
            self._on_duplicate(message)
        elif message.is_expired(self._clock()):
            self._stats.add("expired")
            self._refuse(message, ErrorKind.EXPIRED, "it came after its deadline")
        elif MessageType.TASK_REQUEST not in self._handlers:
            self._stats.add("unhandled")
            self._refuse(message, ErrorKind.UNHANDLED, f"{self.agent_id} takes no requests")
        elif not self._dispatch(message):
            self._refuse(
                message, ErrorKind.HANDLER_FAILED, f"the handler of {self.agent_id} failed"
            )

    def _on_duplicate(self, request: AgentMessage) -> None:
        """A request that came before: its answer goes out again, if it has one."""
        self._stats.add("duplicates")
        answer = self._answers.of(request)
        if answer is not None:
            self._stats.add("answered_again")
            self._reply(answer)

    def _dispatch(self, message: AgentMessage) -> bool:
        """Hand it to its handler; False when that raised."""
        handler = self._handlers.get(message.message_type)
        if handler is None:
            self._stats.add("unhandled")
            _log.debug("%s has no handler for %s", self.agent_id, message.message_type)
            return True
        return self._run(handler, message)

    def _run(self, handler: Callable[[AgentMessage], None], message: AgentMessage) -> bool:
        try:
            handler(message)
        except Exception:  # noqa: BLE001 - the caller's code; the next message is not to blame
            self._stats.add("failed")
            _log.exception("%s: handling a %s failed", self.agent_id, message.message_type.value)
            return False
        return True

    def _refuse(self, message: AgentMessage, kind: ErrorKind, text: str) -> None:
        reply = message.error_reply(self.agent_id, kind, text, clock=self._clock)
        if reply is None:
            return
        reply.incarnation = self._incarnation
        self._answers.keep(reply)
        self._reply(reply)

    def _reply(self, reply: AgentMessage) -> None:
        try:
            self.channel.send(reply)
        except TransportError as error:
            _log.warning("%s cannot tell %s: %s", self.agent_id, reply.receiver_id, error)


def _go_by(agent_id: str, channel: Named) -> None:
    channel.claim_name(agent_id)
    if channel.name != agent_id:
        raise ValueError(
            f"the channel is called {channel.name!r}: what is sent to {agent_id!r} would not reach "
            f"it; make the channel with name={agent_id!r}"
        )


def _did_not_get_there(answer: AgentMessage) -> bool:
    kind = answer.payload.get("kind")
    is_error = answer.message_type is MessageType.ERROR
    return is_error and isinstance(kind, str) and kind in _NOT_TAKEN
