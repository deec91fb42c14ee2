"""What was answered to requests lately, so that one that comes again is answered and not run."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .message import AgentMessage

REQUESTS = 10_000
"""How many requests are remembered at most."""
ANSWERS_BYTES = 16 << 20
"""How much their answers hold together, as text; older answers are let go first."""

_Key = tuple[str, str]


class Answers:
    """The last requests by sender and message id, and their answers. Any thread.

    Args:
        requests: how many are remembered.
        limit_bytes: of the answers together. A request whose answer was let go is still known.
    """

    def __init__(self, requests: int = REQUESTS, limit_bytes: int = ANSWERS_BYTES) -> None:
        self._requests = requests
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._seen: OrderedDict[_Key, None] = OrderedDict()
        self._answers: OrderedDict[_Key, tuple[AgentMessage, int]] = OrderedDict()
        self._bytes = 0

    def begin(self, request: AgentMessage) -> bool:
        """Take note of a request; False when it came before."""
        key = (request.sender_id, request.message_id)
        with self._lock:
            if key in self._seen:
                return False
            self._seen[key] = None
            if len(self._seen) > self._requests:
                self._forget(self._seen.popitem(last=False)[0])
            return True

    def keep(self, answer: AgentMessage) -> None:
        """Remember the first answer to a request that is remembered."""
        key = (answer.receiver_id, answer.correlation_id or "")
        size_bytes = len(repr(answer.payload))
        with self._lock:
            if key not in self._seen or key in self._answers or size_bytes > self._limit_bytes:
                return
            self._answers[key] = (answer, size_bytes)
            self._bytes += size_bytes
            while self._bytes > self._limit_bytes:
                self._forget(next(iter(self._answers)))

    def of(self, request: AgentMessage) -> AgentMessage | None:
        """The answer to a request that came before, if it has one that is still held."""
        with self._lock:
            found = self._answers.get((request.sender_id, request.message_id))
            return None if found is None else found[0]

    def _forget(self, key: _Key) -> None:
        found = self._answers.pop(key, None)
        if found is not None:
            self._bytes -= found[1]
