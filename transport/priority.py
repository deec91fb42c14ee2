"""A queue by priority, as much of a deque as a mailbox uses."""

from __future__ import annotations

import heapq
import itertools
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)


class PriorityQueue:
    """The lowest number goes out first, equal ones in order.

    Args:
        priority: an item's number.
    """

    def __init__(self, priority: Callable[[Any], int]) -> None:
        self._priority = priority
        self._serial = itertools.count()
        self._items: list[tuple[int, int, Any]] = []
        self._lock = threading.Lock()

    def append(self, item: Any) -> None:
        """Put one in its place."""
        rank = self._rank_of(item)
        with self._lock:
            heapq.heappush(self._items, (rank, next(self._serial), item))

    def _rank_of(self, item: Any) -> int:
        """An item's priority; last, and told in the log, where the actor's function fails.

        It runs in the thread that reads the link, for everybody.
        """
        try:
            return int(self._priority(item))
        except Exception:  # noqa: BLE001 - the actor's code; the link is others' too
            _log.exception("the mailbox's priority function failed; the message goes last")
            return sys.maxsize

    def extend(self, items: list[Any]) -> None:
        """Put several."""
        for item in items:
            self.append(item)

    def popleft(self) -> Any:
        """Take out the next.

        Raises:
            IndexError: there is none.
        """
        with self._lock:
            return heapq.heappop(self._items)[2]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter([item for _, _, item in self._items])
