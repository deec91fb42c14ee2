"""When what is due: each name has one time. Used under a lock."""

from __future__ import annotations

import heapq

_FEW = 64


class Times:
    """Names in the order of their times; a name that is dropped costs no search."""

    def __init__(self) -> None:
        self._of: dict[str, float] = {}
        # Also has what was dropped, until it is on top or too much of it.
        self._heap: list[tuple[float, str]] = []

    def set(self, name: str, at_s: float) -> None:
        """Let it be due then, and at no other time."""
        self._of[name] = at_s
        heapq.heappush(self._heap, (at_s, name))
        if len(self._heap) > 2 * len(self._of) + _FEW:
            self._heap = [(time_s, kept) for kept, time_s in self._of.items()]
            heapq.heapify(self._heap)

    def drop(self, name: str) -> None:
        """It is not due any more."""
        self._of.pop(name, None)

    def next_s(self) -> float | None:
        """When the next is due; None for never."""
        while self._heap:
            at_s, name = self._heap[0]
            if self._of.get(name) == at_s:
                return at_s
            heapq.heappop(self._heap)
        return None

    def take(self, now_s: float) -> list[str]:
        """Those that are due, the longest due first; each is taken once."""
        due: list[str] = []
        while (next_s := self.next_s()) is not None and next_s <= now_s:
            name = heapq.heappop(self._heap)[1]
            del self._of[name]
            due.append(name)
        return due
