"""One talk with one Claude Code CLI over stream-json: readiness, turns, interrupts, a fresh start.

Threads, no event loop: the caller's thread waits in `run_turn`, one thread reads. What is said
here about the CLI was seen in its releases 2.1.197 and 2.1.330.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from .control import Calls, answer_to
from .errors import (
    ClaudeDied,
    ClaudeError,
    ClearFailed,
    TurnCancelled,
    TurnEnded,
    TurnInProgress,
)
from .pipes import Pipes
from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

LINE_LIMIT_BYTES = 64 << 20
# An idle stream ends 11 ms after an interrupt; a command that ignores signals takes longer.
INTERRUPT_GRACE_S = 5.0
# An interrupt that arrives before the CLI has begun the turn is answered and forgotten: ask again.
_INTERRUPT_AGAIN_S = 0.25
_WRITE_LIMIT_S = 30.0
_JSON_SHOWN_BYTES = 200


class ClaudeClient:
    """Speaks with a running CLI through its three pipes, and closes them at the end.

    Args:
        stdin: the CLI's input; closing it asks the CLI to end.
        stdout: its output, one JSON object per line.
        stderr: its complaints; the last 64 KiB are kept. None when nobody wants them.
        on_event: called in the reader's thread with each event but the fragments of a streamed
            answer (`stream_event`), which only count as signs of life. It must be quick.
        on_stderr: called in the reader's thread with each piece of stderr as it comes.
        clock: monotonic seconds.
        line_limit_bytes: a longer line ends the talk.
    """

    def __init__(
        self,
        stdin: BinaryIO,
        stdout: BinaryIO,
        stderr: BinaryIO | None = None,
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        on_stderr: Callable[[bytes], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        line_limit_bytes: int = LINE_LIMIT_BYTES,
    ) -> None:
        self._on_event = on_event
        self._clock = clock
        self._changed = threading.Condition()
        self._calls = Calls()
        self._turn: Turn | None = None
        self._ended: str | None = None
        self._session_id: str | None = None
        self._total_cost_usd = 0.0
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
        self._pipes.start()

    @property
    def session_id(self) -> str | None:
        """The conversation's id, or None before the first turn. Any thread."""
        return self._session_id

    @property
    def total_cost_usd(self) -> float:
        """What the CLI last reported as spent in all; the base for the next turn's cost.

        2.1.330 goes back to 0 at `clear`, 2.1.197 goes on. Any thread.
        """
        return self._total_cost_usd

    @property
    def alive(self) -> bool:
        """Whether the CLI's output is still open. Any thread."""
        return self._ended is None

    def stderr_tail(self) -> str:
        """The last 64 KiB of what the CLI wrote on stderr. Any thread."""
        return self._pipes.stderr_tail()

    def initialize(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until the CLI is ready for a turn, and return what it says about itself.

        Raises:
            ClaudeDied: it ended before it was ready.
            ClaudeUnresponsive: no answer in time.
            ControlRefused: it answered with an error.
        """
        return self._call("initialize", timeout_s, hooks=None)

    def run_turn(
        self,
        text: str,
        *,
        timeout_s: float,
        stall_s: float | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Give the CLI a prompt and wait for the `result` event that ends its turn.

        A failed API call or an interrupt is a result too: see `failure.classify_result`.

        Args:
            text: the prompt. One that begins with `/` is taken as a command by the CLI.
            timeout_s: the longest time for the whole turn.
            stall_s: the longest time without any line from the CLI; None is no limit.
            cancelled: asked once the turn can be cancelled; true cancels it, so that a cancellation
                which came a moment before the turn is not lost.

        Raises:
            TurnInProgress: another turn runs.
            TurnTimeout, TurnStalled: a limit was reached; the turn was interrupted.
            TurnCancelled: `cancel` was called.
            ClaudeDied: the CLI ended before the turn did: the turn is lost.
            ClaudeUnresponsive: it does not read its input.
        """
        turn = self._begin(timeout_s, stall_s)
        if cancelled is not None and cancelled():
            self._end_turn(turn)
            raise TurnCancelled
        try:
            message = {"role": "user", "content": text}
            self._send({"type": "user", "message": message}, min(timeout_s, _WRITE_LIMIT_S))
        except ClaudeError:
            self._end_turn(turn)
            raise
        return self._finish(turn)

    def interrupt(self, timeout_s: float = 10.0) -> None:
        """Ask the CLI to end its turn now; `run_turn` then returns its result. Any thread.

        Harmless when no turn runs.

        Raises:
            ClaudeDied, ClaudeUnresponsive, ControlRefused: it could not be asked.
        """
        self._call("interrupt", timeout_s)

    def cancel(self) -> bool:
        """Make the running turn end with `TurnCancelled`. Any thread, returns at once.

        Returns:
            Whether a turn was running.
        """
        with self._changed:
            if self._turn is None:
                return False
            self._turn.cancelled = True
            self._changed.notify_all()
            return True

    def clear(self, timeout_s: float = 10.0) -> str:
        """Leave the conversation for a new, empty one, and return the new one's id.

        Takes 10 to 20 ms. The old transcript is then to be moved out of sight:
        see `transcript.settle_and_archive`.

        Raises:
            ClearFailed: the CLI is still in the old conversation.
            TurnInProgress, TurnTimeout, ClaudeDied, ClaudeUnresponsive: as in `run_turn`.
        """
        before = self._session_id
        result = self.run_turn("/clear", timeout_s=timeout_s)
        after = result.get("session_id")
        if result.get("is_error") or result.get("num_turns") != 0:
            raise ClearFailed(before, f"the CLI answered {str(result.get('result'))[:200]!r}")
        if not isinstance(after, str) or after == before:
            raise ClearFailed(before, "the CLI gave no new conversation id")
        return after

    def close(self) -> None:
        """End the CLI's input, stop reading, close the pipes. Safe to call twice.

        A call that still waits in another thread ends with `ClaudeDied`.
        """
        self._pipes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- a turn, in the caller's thread -------------------------------------------------------

    def _begin(self, timeout_s: float, stall_s: float | None) -> Turn:
        with self._changed:
            self._check_alive()
            if self._turn is not None:
                raise TurnInProgress
            self._turn = Turn(self._clock(), timeout_s, stall_s)
            return self._turn

    def _finish(self, turn: Turn) -> dict[str, Any]:
        given_up = self._wait(turn)
        if given_up is not None:
            settled = self._interrupt_until_settled(turn)
            raise given_up(turn.limit_s(given_up), settled)
        assert turn.result is not None
        return turn.result

    def _wait(self, turn: Turn) -> type[TurnEnded] | None:
        """None when the result is there; else why not to wait any longer."""
        with self._changed:
            while turn.result is None:
                self._check_alive()
                if turn.cancelled:
                    return TurnCancelled
                given_up = turn.over_limit(self._clock())
                if given_up is not None:
                    return given_up
                self._changed.wait(turn.patience_s(self._clock()))
            return TurnCancelled if turn.cancelled else None

    def _interrupt_until_settled(self, turn: Turn) -> bool:
        deadline = self._clock() + INTERRUPT_GRACE_S
        while turn.result is None and self.alive and self._clock() < deadline:
            try:
                self._post("interrupt")
            except ClaudeError as error:
                _log.info("the interrupt did not reach the CLI: %s", error)
                return False
            with self._changed:
                self._changed.wait_for(
                    lambda: turn.result is not None or not self.alive, _INTERRUPT_AGAIN_S
                )
        return turn.result is not None

    def _end_turn(self, turn: Turn) -> None:
        with self._changed:
            if self._turn is turn:
                self._turn = None

    # -- requests, in any thread --------------------------------------------------------------

    def _call(self, subtype: str, timeout_s: float, **fields: object) -> dict[str, Any]:
        request_id = self._calls.open()
        try:
            self._send_request(request_id, subtype, timeout_s, fields)
            with self._changed:
                self._changed.wait_for(
                    lambda: self._calls.answered(request_id) or not self.alive, timeout_s
                )
                if not self._calls.answered(request_id):
                    self._check_alive()
            return self._calls.take(request_id, subtype, timeout_s)
        finally:
            self._calls.drop(request_id)

    def _post(self, subtype: str) -> None:
        """Send a request whose answer is of no interest."""
        self._send_request(self._calls.new_id(), subtype, INTERRUPT_GRACE_S, {})

    def _send_request(
        self, request_id: str, subtype: str, timeout_s: float, fields: dict[str, object]
    ) -> None:
        request = {"subtype": subtype, **fields}
        line = {"type": "control_request", "request_id": request_id, "request": request}
        self._send(line, timeout_s)

    def _send(self, line: dict[str, Any], timeout_s: float) -> None:
        self._pipes.write(json.dumps(line).encode() + b"\n", timeout_s)

    def _check_alive(self) -> None:
        if self._ended is not None:
            raise ClaudeDied(self._ended, self.stderr_tail())

    # -- events, in the reader's thread -------------------------------------------------------

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
        kind = event.get("type")
        with self._changed:
            if self._turn is not None:
                self._turn.last_sign_at = self._clock()
        if kind == "control_response":
            with self._changed:
                self._calls.answer(event)
                self._changed.notify_all()
        elif kind == "control_request":
            self._answer(event)
        elif kind != "stream_event":
            self._note(event)
            self._tell(event)
            if kind == "result":
                self._on_result(event)

    def _note(self, event: dict[str, Any]) -> None:
        """Learn the conversation's id from the two events that name the current one.

        `conversation_reset` of 2.1.330 carries an id that is no session's, and events between it
        and the next `init` still name the old session.
        """
        is_init = event.get("type") == "system" and event.get("subtype") == "init"
        session_id = event.get("session_id")
        if (is_init or event.get("type") == "result") and isinstance(session_id, str):
            self._session_id = session_id

    def _on_result(self, event: dict[str, Any]) -> None:
        total = event.get("total_cost_usd")
        with self._changed:
            if isinstance(total, int | float):
                self._total_cost_usd = float(total)
            if self._turn is not None:
                self._turn.result = event
                self._turn = None
            self._changed.notify_all()

    def _tell(self, event: dict[str, Any]) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - a listener's fault must not end the talk others wait on
            _log.exception("the listener failed on an event of type %r", event.get("type"))

    def _answer(self, event: dict[str, Any]) -> None:
        try:
            self._send(answer_to(event), INTERRUPT_GRACE_S)
        except ClaudeError as error:
            _log.warning("a control request stays unanswered: %s", error)

    def _on_end(self, reason: str) -> None:
        with self._changed:
            self._ended = reason
            self._turn = None
            self._changed.notify_all()
