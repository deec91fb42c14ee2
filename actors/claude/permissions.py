"""A tool call that the CLI may not make without being told so: who answers, and until when."""

from __future__ import annotations

import logging
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

DENIED = "This call is not on the list of what this task may do. Go on without it."


class PermissionState(StrEnum):
    """Where a request is: open, or how it was settled."""

    OPEN = "open"
    ALLOWED = "allowed"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class PermissionRequest:
    """One call that waits for a yes or a no. The first answer counts; any thread may give it.

    Attributes:
        request_id: unique within its CLI.
        tool: the tool's name as the CLI says it, as `Bash` or `mcp__bus__ask_agent`.
        tool_input: what it is to be called with.
        tool_use_id: the call's id in the conversation.
        blocked_path: the path that made the CLI ask, or None.
        timeout_s: after so many seconds without an answer it is denied.
    """

    def __init__(
        self,
        request_id: str,
        request: Mapping[str, Any],
        timeout_s: float,
        answer: Callable[[dict[str, Any]], None],
    ) -> None:
        tool_input = request.get("input")
        self.request_id = request_id
        self.tool = str(request.get("tool_name"))
        self.tool_input = cast("dict[str, Any]", tool_input) if isinstance(tool_input, dict) else {}
        self.tool_use_id = str(request.get("tool_use_id") or "")
        self.blocked_path = request.get("blocked_path")
        self.timeout_s = timeout_s
        self._answer = answer
        self._lock = threading.Lock()
        self._state = PermissionState.OPEN
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.name = "understudy-permission"
        self._timer.daemon = True

    @property
    def state(self) -> PermissionState:
        """Where it is. Any thread."""
        return self._state

    def allow(self, updated_input: Mapping[str, Any] | None = None) -> bool:
        """Let the call be made, with another input if one is given.

        Returns:
            Whether this was the answer; False when it was settled before.
        """
        tool_input = dict(self.tool_input if updated_input is None else updated_input)
        answer = {"behavior": "allow", "updatedInput": tool_input}
        return self._settle(PermissionState.ALLOWED, answer)

    def deny(self, message: str = DENIED, *, interrupt: bool = False) -> bool:
        """Refuse the call. The model is told `message` and goes on; `interrupt` ends its turn.

        Returns:
            Whether this was the answer; False when it was settled before.
        """
        answer: dict[str, Any] = {"behavior": "deny", "message": message}
        if interrupt:
            answer["interrupt"] = True
        return self._settle(PermissionState.DENIED, answer)

    def open_to(self, decide: Callable[[PermissionRequest], None]) -> None:
        """Start the time and hand it to whoever decides; one who fails has denied it."""
        self._timer.start()
        try:
            decide(self)
        except Exception:  # noqa: BLE001 - the CLI waits: it gets its answer whatever goes wrong
            _log.exception("nobody could be asked about %s", self.tool)
            self.deny()

    def withdraw(self) -> None:
        """The CLI wants no answer any more: its turn was interrupted, or it ended."""
        self._settle(PermissionState.WITHDRAWN, None)

    def close(self) -> None:
        """Withdraw it and wait until its timer is gone."""
        self.withdraw()
        if self._timer.ident is not None and self._timer is not threading.current_thread():
            self._timer.join(1.0)

    def _expire(self) -> None:
        message = (
            f"Nobody answered the request for permission within {self.timeout_s:g} s, so it is "
            "denied. Go on without this call, or end your turn and say what you need it for."
        )
        self._settle(PermissionState.EXPIRED, {"behavior": "deny", "message": message})

    def _settle(self, state: PermissionState, answer: dict[str, Any] | None) -> bool:
        with self._lock:
            if self._state is not PermissionState.OPEN:
                return False
            self._state = state
        self._timer.cancel()
        if answer is not None:
            self._answer(answer)
        return True
