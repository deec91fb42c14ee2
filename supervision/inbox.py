"""What waits for its turn while a supervisor does one thing at a time. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .signals import ChildExited, Request

if TYPE_CHECKING:
    from .signals import Input


class Inbox:
    """First in, first out; but the end of a child can be taken out of turn."""

    def __init__(self) -> None:
        self._waiting: deque[Input] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, happened: Input) -> None:
        """As the last."""
        self._waiting.append(happened)

    def take(self) -> Input:
        """The first."""
        return self._waiting.popleft()

    def take_exit(self, child_id: str, incarnation: int) -> ChildExited | None:
        """The news that this child has ended, if it is here: who ends a child takes it first."""
        for happened in self._waiting:
            if isinstance(happened, ChildExited) and happened.child_id == child_id:
                if happened.incarnation != incarnation:
                    continue
                self._waiting.remove(happened)
                return happened
        return None

    def close(self) -> list[Request]:
        """Empty it; the requests that nobody comes to any more."""
        requests = [happened for happened in self._waiting if isinstance(happened, Request)]
        self._waiting.clear()
        return requests
