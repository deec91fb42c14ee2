"""Remembers the last few things."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Window(Generic[T]):
    """A set that forgets its oldest member when it holds `size` of them. Used under a lock."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._members: set[T] = set()
        self._order: deque[T] = deque()

    def __contains__(self, member: T) -> bool:
        return member in self._members

    def add(self, member: T) -> bool:
        """Remember it; False when it was remembered already."""
        if member in self._members:
            return False
        self._members.add(member)
        self._order.append(member)
        if len(self._order) > self._size:
            self._members.discard(self._order.popleft())
        return True
