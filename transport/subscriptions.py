"""Who wants which broadcasts, and who missed some."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from .message import MessageType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .registry import Peer

P = TypeVar("P")


class Subscriptions(Generic[P]):
    """What each peer of one server wants of broadcasts. Any thread.

    Who never said anything gets all of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: frozenset[str] | None = None
        # They end with the connection: a successor of the same name says anew what it wants.
        self._wants: weakref.WeakKeyDictionary[Peer[P], frozenset[str]] = (
            weakref.WeakKeyDictionary()
        )
        self._missed: weakref.WeakKeyDictionary[Peer[P], int] = weakref.WeakKeyDictionary()

    def set(self, peer: Peer[P] | None, types: Iterable[str] | None) -> None:
        """Let a peer (None: the server itself) get broadcasts of these types (None: of all)."""
        wanted = None if types is None else frozenset(types)
        with self._lock:
            if peer is None:
                self._own = wanted
            elif wanted is None:
                self._wants.pop(peer, None)
            else:
                self._wants[peer] = wanted

    def hand_over(self, old: Peer[P], new: Peer[P]) -> None:
        """A peer has another name now."""
        with self._lock:
            if old in self._wants:
                self._wants[new] = self._wants.pop(old)
            if old in self._missed:
                self._missed[new] = self._missed.pop(old)

    def wants(self, peer: Peer[P] | None, message_type: MessageType) -> bool:
        """Whether it is to get a broadcast of that type."""
        with self._lock:
            wanted = self._own if peer is None else self._wants.get(peer)
        return wanted is None or message_type.value in wanted

    def miss(self, peer: Peer[P], count: int = 1) -> None:
        """Take note of broadcasts that a peer did not get."""
        with self._lock:
            self._missed[peer] = self._missed.get(peer, 0) + count

    def take_missed(self, peer: Peer[P]) -> int:
        """How many it missed since it was told last; it is told now."""
        with self._lock:
            return self._missed.pop(peer, 0) if self._missed else 0


def to_words(types: Iterable[MessageType] | None) -> list[str] | None:
    """The types as they travel.

    Raises:
        TypeError: they are something else.
    """
    if types is None:
        return None
    given: object = types
    if isinstance(given, str | MessageType):
        raise TypeError(f"subscribe takes a list of MessageTypes, or None, not {given!r} alone")
    words: list[str] = []
    for kind in cast("Iterable[object]", types):
        if not isinstance(kind, MessageType):
            raise TypeError(f"subscribe takes a list of MessageTypes, or None, not {kind!r} in it")
        words.append(kind.value)
    return sorted(words)


def to_record(types: Iterable[MessageType] | None) -> dict[str, Any]:
    """The link record by which a client says what it wants. Raises as `to_words`."""
    return {"link": "subscribe", "types": to_words(types)}


def from_record(record: Mapping[str, Any]) -> tuple[bool, list[str] | None]:
    """Whether a link record is a subscription that can be understood, and the types it wants.

    Types that this version does not know are no mistake.
    """
    types = record.get("types")
    if record.get("link") != "subscribe" or "types" not in record:
        return False, None
    if types is None:
        return True, None
    if not isinstance(types, list):
        return False, None
    return True, [kind for kind in cast("list[object]", types) if isinstance(kind, str)]
