"""One talk with one Claude Code CLI over stream-json: readiness, turns, interrupts, a fresh start.

Threads, no event loop: the caller's thread waits in `run_turn`, one thread reads. What is said
here about the CLI was seen in its releases 2.1.197 and 2.1.330.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from .answers import PERMISSION_TIMEOUT_S
from .controls import Controls
from .errors import (
    ClaudeError,
    ClaudeUnresponsive,
    ClearFailed,
    TurnCancelled,
    TurnEnded,
    TurnInProgress,
    TurnLost,
)
from .permissions import PermissionRequest, PermissionState
from .talk import Talk
from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .mcp import McpServer

_log = logging.getLogger(__name__)

LINE_LIMIT_BYTES = 64 << 20
# An idle stream ends 11 ms after an interrupt; a command that ignores signals takes longer.
INTERRUPT_GRACE_S = 5.0
# An interrupt that arrives before the CLI has begun the turn is answered and forgotten: ask again.
_INTERRUPT_AGAIN_S = 0.25
_WRITE_LIMIT_S = 30.0
_SOMEBODYS_YES = "permission"


class ClaudeClient(Controls):
    """Speaks with a running CLI through its three pipes, and closes them at the end.

    Args:
        stdin: the CLI's input; closing it asks the CLI to end.
        stdout: its output, one JSON object per line.
        stderr: its complaints; the last 64 KiB are kept. None when nobody wants them.
        on_event: called in the reader's thread with each event but the fragments of a streamed
            answer (`stream_event`), which only count as signs of life. It must be quick.
        on_stderr: called in the reader's thread with each piece of stderr as it comes.
        servers: tools of ours that the model may call; `CliRole.servers` must name them too.
        on_permission: called in the reader's thread when a call needs somebody's yes; it must be
            quick: it hands the request on, and any thread answers it. None denies them all. While
            a request is open, the turn's time stands still.
        permission_timeout_s: how long such a request stays open; then it is denied.
        kill: ends the CLI for good, by ending its container. Called in the turn's thread when the
            CLI does not end a turn that was interrupted.
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
        servers: Sequence[McpServer] = (),
        on_permission: Callable[[PermissionRequest], None] | None = None,
        permission_timeout_s: float = PERMISSION_TIMEOUT_S,
        kill: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        line_limit_bytes: int = LINE_LIMIT_BYTES,
    ) -> None:
        self._on_event = on_event
        self._on_permission = on_permission
        self._asked: list[PermissionRequest] = []
        self._kill = kill
        self._clock = clock
        self._turn: Turn | None = None
        self._state: str | None = None
        self._session_id: str | None = None
        self._total_cost_usd = 0.0
        self._talk = Talk(
            stdin,
            stdout,
            stderr,
            on_event=self._on_object,
            on_sign=self._on_sign,
            on_stderr=on_stderr,
            servers=servers,
            on_permission=self._ask if on_permission else None,
            permission_timeout_s=permission_timeout_s,
            clock=clock,
            line_limit_bytes=line_limit_bytes,
        )
        # Guards the turn, and tells those who wait.
        self._changed = self._talk.changed
        self._talk.start()

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
        return self._talk.ended is None

    def stderr_tail(self) -> str:
        """The last 64 KiB of what the CLI wrote on stderr. Any thread."""
        return self._talk.stderr_tail()

    def initialize(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until the CLI is ready for a turn, and return what it says about itself.

        Raises:
            ClaudeDied: it ended before it was ready.
            ClaudeUnresponsive: no answer in time.
            ControlRefused: it answered with an error.
        """
        fields: dict[str, object] = {"hooks": None}
        if self._talk.server_names:
            fields["sdkMcpServers"] = self._talk.server_names
        return self._talk.call("initialize", timeout_s, **fields)

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
            timeout_s: the longest time for the whole turn, pauses not counted (see `hold`).
            stall_s: the longest time without any line from the CLI; None is no limit.
            cancelled: asked once the turn can be cancelled; true cancels it, so that a cancellation
                which came a moment before the turn is not lost.

        Raises:
            TurnInProgress: another turn runs.
            TurnTimeout, TurnStalled: a limit was reached; the turn was interrupted.
            TurnLost: the CLI came to rest without a result.
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
            self._talk.send({"type": "user", "message": message}, min(timeout_s, _WRITE_LIMIT_S))
        except ClaudeError:
            self._end_turn(turn)
            raise
        return self._finish(turn)

    def rest(self, timeout_s: float) -> None:
        """Wait until the CLI has nothing more to do; it says so a moment after a turn's result.

        Raises:
            ClaudeDied, ClaudeUnresponsive: it ended, or it did not come to rest.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._state == "idle" or not self.alive, timeout=timeout_s
            )
            if self._state != "idle":
                self._talk.check_alive()
                raise ClaudeUnresponsive("come to rest", timeout_s)

    def end(self, grace_s: float) -> bool:
        """Ask the CLI to end, by the end of its input; kill it when it has not in `grace_s`.

        A turn that runs is finished first: `cancel` it before. Returns whether it ended by itself.
        """
        try:
            self._talk.end_input()
            with self._changed:
                ended = self._changed.wait_for(lambda: not self.alive, grace_s)
        except ClaudeUnresponsive:
            ended = False
        if not ended and self._kill is not None:
            self._kill()
        return ended

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

    def hold(self, by: str, *, at_most_s: float, waited_s: float = 0.0) -> None:
        """Let the running turn's time stand still: it cannot go on, by no fault of its own.

        Any thread, returns at once; without a turn nothing happens.

        Args:
            by: who holds it up; several may.
            at_most_s: after so many seconds the time goes on by itself.
            waited_s: how long it has been held up already.
        """
        with self._changed:
            if self._turn is not None:
                now = self._clock()
                self._turn.pauses.begin(by, now, at_most_s=at_most_s, waited_s=waited_s)

    def go_on(self, by: str) -> None:
        """End what `hold` began. Any thread, returns at once."""
        with self._changed:
            if self._turn is not None:
                self._turn.pauses.end(by, self._clock())
                self._changed.notify_all()

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
        self._talk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- a turn, in the caller's thread -------------------------------------------------------

    def _begin(self, timeout_s: float, stall_s: float | None) -> Turn:
        with self._changed:
            self._talk.check_alive()
            if self._turn is not None:
                raise TurnInProgress
            self._turn = Turn(self._clock(), timeout_s, stall_s)
            return self._turn

    def _finish(self, turn: Turn) -> dict[str, Any]:
        given_up = self._wait(turn)
        if given_up is not None:
            settled = given_up is not TurnLost and self._interrupt_until_settled(turn)
            if not settled and self._kill is not None:
                self._kill()
            raise given_up(turn.limit_s(given_up), settled)
        assert turn.result is not None
        return turn.result

    def _wait(self, turn: Turn) -> type[TurnEnded] | None:
        """None when the result is there; else why not to wait any longer."""
        with self._changed:
            while turn.result is None:
                self._talk.check_alive()
                if turn.cancelled:
                    return TurnCancelled
                if self._talk.is_waited_for:
                    turn.sign(self._clock())  # the silence is ours
                given_up = turn.over_limit(self._clock())
                if given_up is not None:
                    return given_up
                self._changed.wait(turn.patience_s(self._clock()))
            return TurnCancelled if turn.cancelled else None

    def _interrupt_until_settled(self, turn: Turn) -> bool:
        deadline = self._clock() + INTERRUPT_GRACE_S
        while turn.result is None and self.alive and self._clock() < deadline:
            try:
                self._talk.post("interrupt", INTERRUPT_GRACE_S)
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

    # -- events, in the reader's thread -------------------------------------------------------

    def _on_sign(self) -> None:
        with self._changed:
            if self._turn is not None:
                self._turn.sign(self._clock())
        if self._asked:
            self._note_answered()

    def _ask(self, request: PermissionRequest) -> None:
        """The CLI wants to know whether it may: how long somebody thinks is not the turn's."""
        assert self._on_permission is not None
        with self._changed:
            self._asked.append(request)
        self.hold(_SOMEBODYS_YES, at_most_s=request.timeout_s)
        self._on_permission(request)

    def _note_answered(self) -> None:
        with self._changed:
            self._asked = [each for each in self._asked if each.state is PermissionState.OPEN]
            if not self._asked:
                self.go_on(_SOMEBODYS_YES)

    def _on_object(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "stream_event":
            return
        self._note(event)
        self._tell(event)
        if kind == "result":
            self._on_result(event)
        elif event.get("subtype") == "session_state_changed":
            self._on_state(event.get("state"))

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

    def _on_state(self, state: object) -> None:
        with self._changed:
            self._state = str(state)
            if self._turn is not None:
                self._turn.on_state(str(state), self._clock())
            self._changed.notify_all()
