"""The control protocol, our side: requests to the CLI, and their answers brought together."""

from __future__ import annotations

import itertools
from typing import Any, cast

from .errors import ClaudeUnresponsive, ControlRefused


class Calls:
    """Requests under way, by id. Each is dropped by whoever opened it; late answers are ignored.

    The client guards `answer`, `answered` and `take` with its lock.
    """

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._open: dict[str, dict[str, Any] | None] = {}

    def new_id(self) -> str:
        """An id for a request nobody waits for."""
        return f"u{next(self._ids)}"

    def open(self) -> str:
        """The id of a new request whose answer will be taken."""
        request_id = self.new_id()
        self._open[request_id] = None
        return request_id

    def drop(self, request_id: str) -> None:
        """Wait for it no longer."""
        self._open.pop(request_id, None)

    def answer(self, event: dict[str, Any]) -> None:
        """Take in a `control_response` event."""
        response = _dict(event.get("response"))
        if response.get("request_id") in self._open:
            self._open[response["request_id"]] = response

    def answered(self, request_id: str) -> bool:
        """Whether the answer is there."""
        return self._open.get(request_id) is not None

    def take(self, request_id: str, subtype: str, timeout_s: float) -> dict[str, Any]:
        """The answer's content.

        Raises:
            ClaudeUnresponsive: it is not there.
            ControlRefused: it is an error.
        """
        response = self._open.get(request_id)
        if response is None:
            raise ClaudeUnresponsive(f"answer the control request {subtype!r}", timeout_s)
        if response.get("subtype") != "success":
            raise ControlRefused(subtype, str(response.get("error") or "no reason given"))
        return _dict(response.get("response"))


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
