"""The lines between us and one CLI: sent whole, read one by one, answers brought to who asked."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from .answers import Answers
from .control import Calls
from .errors import ClaudeDied, ClaudeError
from .pipes import Pipes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .mcp import McpServer
    from .permissions import PermissionRequest

_log = logging.getLogger(__name__)

_ANSWER_LIMIT_S = 5.0
_JSON_SHOWN_BYTES = 200


class Talk:
    """Everything but turns: lines, control requests of both sides, the end.

    Args:
        stdin, stdout, stderr: the CLI's pipes; closed at the end.
        on_event: called in the reader's thread with each line that is no part of the control
            protocol.
        on_sign: called in the reader's thread with each line, before anything else.
        on_stderr: called in the reader's thread with each piece of stderr.
        servers, on_permission, permission_timeout_s: see `Answers`.
        clock: monotonic seconds.
        line_limit_bytes: a longer line ends the talk.

    Attributes:
        changed: notified at every answer and at the end; guards what its owner keeps with it.
        ended: why nothing more can come, or None.
    """

    def __init__(
        self,
        stdin: BinaryIO,
        stdout: BinaryIO,
        stderr: BinaryIO | None,
        *,
        on_event: Callable[[dict[str, Any]], None],
        on_sign: Callable[[], None],
        on_stderr: Callable[[bytes], None] | None,
        servers: Sequence[McpServer],
        on_permission: Callable[[PermissionRequest], None] | None,
        permission_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        line_limit_bytes: int,
    ) -> None:
        self.changed = threading.Condition()
        self.ended: str | None = None
        self._on_event = on_event
        self._on_sign = on_sign
        self._calls = Calls()
        self._answers = Answers(
            self._send_answer,
            servers=servers,
            on_permission=on_permission,
            permission_timeout_s=permission_timeout_s,
            on_settled=self._on_settled,
        )
        self._pipes = Pipes(
            stdin,
            stdout,
            stderr,
            on_line=self._on_line,
            on_end=self._on_end,
            on_stderr=on_stderr,
            line_limit_bytes=line_limit_bytes,
            clock=clock,
        )

    def start(self) -> None:
        """Start reading."""
        self._pipes.start()

    @property
    def is_waited_for(self) -> bool:
        """Whether the CLI waits for an answer of ours. Any thread."""
        return self._answers.is_waited_for

    @property
    def server_names(self) -> list[str]:
        """The servers of our tools, to be declared to the CLI."""
        return self._answers.server_names

    def stderr_tail(self) -> str:
        """The last 64 KiB of what the CLI wrote on stderr. Any thread."""
        return self._pipes.stderr_tail()

    def check_alive(self) -> None:
        """Raise `ClaudeDied` when the CLI's output has ended."""
        if self.ended is not None:
            raise ClaudeDied(self.ended, self.stderr_tail())

    def send(self, line: dict[str, Any], timeout_s: float) -> None:
        """Write one line. Any thread.

        Raises:
            ClaudeDied, ClaudeUnresponsive: see `Pipes.write`.
        """
        self._pipes.write(json.dumps(line).encode() + b"\n", timeout_s)

    def call(self, subtype: str, timeout_s: float, **fields: object) -> dict[str, Any]:
        """Send a control request and wait for its answer. Any thread.

        Raises:
            ClaudeDied: the CLI ended first.
            ClaudeUnresponsive: no answer in time.
            ControlRefused: it answered with an error.
        """
        request_id = self._calls.open()
        try:
            self._send_request(request_id, subtype, timeout_s, fields)
            with self.changed:
                self.changed.wait_for(
                    lambda: self._calls.answered(request_id) or self.ended is not None, timeout_s
                )
                if not self._calls.answered(request_id):
                    self.check_alive()
            return self._calls.take(request_id, subtype, timeout_s)
        finally:
            self._calls.drop(request_id)

    def post(self, subtype: str, timeout_s: float) -> None:
        """Send a control request whose answer is of no interest."""
        self._send_request(self._calls.new_id(), subtype, timeout_s, {})

    def end_input(self) -> None:
        """Close the CLI's input, which asks it to end; its output is still read. Any thread."""
        self._pipes.end_input()

    def close(self) -> None:
        """Withdraw what is open, stop reading, close the pipes. Safe to call twice."""
        self._pipes.close()
        self._answers.close()

    def _send_request(
        self, request_id: str, subtype: str, timeout_s: float, fields: dict[str, object]
    ) -> None:
        request = {"subtype": subtype, **fields}
        line = {"type": "control_request", "request_id": request_id, "request": request}
        self.send(line, timeout_s)

    def _send_answer(self, line: dict[str, Any]) -> None:
        try:
            self.send(line, _ANSWER_LIMIT_S)
        except ClaudeError as error:
            _log.warning("a control request stays unanswered: %s", error)

    def _on_settled(self) -> None:
        self._on_sign()
        with self.changed:
            self.changed.notify_all()

    # -- the reader's thread ------------------------------------------------------------------

    def _on_line(self, line: bytes) -> None:
        try:
            event: Any = json.loads(line)
        except ValueError:
            # A library inside the CLI printed something; the protocol's lines are all JSON.
            _log.warning("not an event: %r", line[:_JSON_SHOWN_BYTES])
            return
        if isinstance(event, dict):
            self._on_object(cast("dict[str, Any]", event))

    def _on_object(self, event: dict[str, Any]) -> None:
        self._on_sign()
        match event.get("type"):
            case "control_response":
                with self.changed:
                    self._calls.answer(event)
                    self.changed.notify_all()
            case "control_request":
                self._answers.take(event)
            case "control_cancel_request":
                self._answers.cancel(event)
            case _:
                self._on_event(event)

    def _on_end(self, reason: str) -> None:
        with self.changed:
            self.ended = reason
            self.changed.notify_all()
        self._answers.end()
