"""Requests whose answer is awaited. Each gets exactly one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .times import Times
from .window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from .message import AgentMessage

_REMEMBERED = 10_000


@dataclass(frozen=True)
class Pending:
    """A request that was sent.

    Attributes:
        request: it; sent again it has the same message id.
        callback: gets the answer.
        until_s: when its time is over (monotonic), None for never.
        again_s: when it is sent again (monotonic), None for not any more.
        pause_s: between this sending and the next but one.
        retries: how often it may still be sent.
    """

    request: AgentMessage
    callback: Callable[[AgentMessage], None]
    until_s: float | None
    again_s: float | None = None
    pause_s: float = 0.0
    retries: int = 0


class PendingRequests:
    """The requests that wait. All methods may be called from any thread; none calls a callback."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Pending] = {}
        self._ends = Times()
        self._again = Times()
        self._answered: Window[str] = Window(_REMEMBERED)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pending: Pending) -> None:
        """Await the answer of a request; comes before it is sent."""
        with self._lock:
            self._waiting[pending.request.message_id] = pending
            self._schedule(pending)

    def forget(self, request_id: str) -> bool:
        """Await it no more, since it could not be sent; False when somebody took it already."""
        with self._lock:
            return self._remove(request_id) is not None

    def take(self, request_id: str) -> Pending | None:
        """The request of that id, for whoever answers it first; None for all others."""
        with self._lock:
            pending = self._remove(request_id)
            if pending is not None:
                self._answered.add(request_id)
            return pending

    def is_sent_again(self, request_id: str) -> bool:
        """Whether a request waits and will be sent again."""
        with self._lock:
            pending = self._waiting.get(request_id)
            return pending is not None and pending.again_s is not None

    def take_expired(self, now: float) -> list[Pending]:
        """The requests whose time is over."""
        with self._lock:
            over = self._ends.take(now)
            for request_id in over:
                self._answered.add(request_id)
                self._again.drop(request_id)
            return [self._waiting.pop(request_id) for request_id in over]

    def take_due(self, now: float) -> list[Pending]:
        """The requests that are to be sent again now; each stays awaited, its next time set."""
        with self._lock:
            due = [self._waiting[request_id] for request_id in self._again.take(now)]
            for pending in due:
                left = pending.retries - 1
                again_s = now + pending.pause_s if left > 0 else None
                later = replace(pending, again_s=again_s, retries=left)
                self._waiting[pending.request.message_id] = later
                self._schedule(later)
            return due

    def take_all(self) -> list[Pending]:
        """All that wait."""
        with self._lock:
            return [
                pending
                for request_id in list(self._waiting)
                if (pending := self._remove(request_id)) is not None
            ]

    def was_answered(self, request_id: str) -> bool:
        """Whether it is one of the last 10,000 that were taken."""
        with self._lock:
            return request_id in self._answered

    def next_limit_s(self) -> float | None:
        """When the next request's time is over or it is sent again (monotonic); None for never."""
        with self._lock:
            ends_s, again_s = self._ends.next_s(), self._again.next_s()
            return min((t for t in (ends_s, again_s) if t is not None), default=None)

    def _schedule(self, pending: Pending) -> None:
        request_id = pending.request.message_id
        if pending.until_s is not None:
            self._ends.set(request_id, pending.until_s)
        if pending.again_s is not None:
            self._again.set(request_id, pending.again_s)

    def _remove(self, request_id: str) -> Pending | None:
        self._ends.drop(request_id)
        self._again.drop(request_id)
        return self._waiting.pop(request_id, None)
