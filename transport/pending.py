"""Requests whose answer is awaited. Each gets exactly one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
        self._answered: Window[str] = Window(_REMEMBERED)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pending: Pending) -> None:
        """Await the answer of a request; comes before it is sent."""
        with self._lock:
            self._waiting[pending.request.message_id] = pending

    def forget(self, request_id: str) -> bool:
        """Await it no more, since it could not be sent; False when somebody took it already."""
        with self._lock:
            return self._waiting.pop(request_id, None) is not None

    def take(self, request_id: str) -> Pending | None:
        """The request of that id, for whoever answers it first; None for all others."""
        with self._lock:
            pending = self._waiting.pop(request_id, None)
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
            over = [
                request_id
                for request_id, pending in self._waiting.items()
                if pending.until_s is not None and pending.until_s <= now
            ]
            for request_id in over:
                self._answered.add(request_id)
            return [self._waiting.pop(request_id) for request_id in over]

    def take_due(self, now: float) -> list[Pending]:
        """The requests that are to be sent again now; each stays awaited, its next time set."""
        with self._lock:
            due = [p for p in self._waiting.values() if p.again_s is not None and p.again_s <= now]
            for pending in due:
                left = pending.retries - 1
                again_s = now + pending.pause_s if left > 0 else None
                self._waiting[pending.request.message_id] = replace(
                    pending, again_s=again_s, retries=left
                )
            return due

    def take_all(self) -> list[Pending]:
        """All that wait."""
        with self._lock:
            waiting = list(self._waiting.values())
            self._waiting.clear()
            return waiting

    def was_answered(self, request_id: str) -> bool:
        """Whether it is one of the last 10,000 that were taken."""
        with self._lock:
            return request_id in self._answered

    def next_limit_s(self) -> float | None:
        """When the next request's time is over or it is sent again (monotonic); None for never."""
        with self._lock:
            waiting = self._waiting.values()
            limits = [p.until_s for p in waiting if p.until_s is not None]
            again = [p.again_s for p in waiting if p.again_s is not None]
            return min(limits + again, default=None)
