"""Who is connected under which name, and which incarnation of it counts."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import HelloRefused
from .message import BROADCAST

if TYPE_CHECKING:
    from collections.abc import Callable

P = TypeVar("P")

MAX_NAME_LENGTH = 200


@dataclass(frozen=True)
class Peer(Generic[P]):
    """A connected peer; `port` is whatever carries messages to it.

    `is_given` says that the server made its name up.
    """

    name: str
    incarnation: int
    port: P
    is_given: bool = False


class PeerRegistry(Generic[P]):
    """The connected peers of one server. All methods may be called from any thread.

    Args:
        own_name: the server's name, which no peer may take.
    """

    def __init__(self, own_name: str) -> None:
        self._own_name = own_name
        self._lock = threading.RLock()
        self._peers: dict[str, Peer[P]] = {}
        # Outlives the connection: an old incarnation that wakes up late finds the door shut. Peers
        # that do not count (0) are not remembered, so passing clients leave nothing behind.
        self._newest: dict[str, int] = {}

    def admit(
        self, name: str | None, incarnation: int, port: P, greet: Callable[[str], None]
    ) -> tuple[Peer[P], Peer[P] | None]:
        """Take a peer in.

        Args:
            name: the name it asks for; None gets a unique one.
            incarnation: the number of its start.
            port: what carries messages to it.
            greet: called with the name before anybody can send to it: its words come first.

        Returns:
            The peer, and the older incarnation that it replaces, if one was connected.

        Raises:
            HelloRefused: the name is reserved or taken, or a newer incarnation was here.
        """
        with self._lock:
            is_given = name is None
            name = f"client-{uuid.uuid4().hex[:12]}" if name is None else name
            self._check(name, incarnation)
            greet(name)
            replaced = self._peers.get(name)
            peer = Peer(name, incarnation, port, is_given)
            self._peers[name] = peer
            if incarnation:
                self._newest[name] = incarnation
            return peer, replaced

    def remove(self, peer: Peer[P]) -> bool:
        """Forget a peer; whether it was there, and not replaced by another of its name."""
        with self._lock:
            if self._peers.get(peer.name) is not peer:
                return False
            del self._peers[peer.name]
            return True

    def get(self, name: str) -> Peer[P] | None:
        """The peer of that name."""
        with self._lock:
            return self._peers.get(name)

    def names(self) -> tuple[str, ...]:
        """The names of all peers, the longest connected first."""
        with self._lock:
            return tuple(self._peers)

    def incarnations(self) -> dict[str, int]:
        """The incarnation of each peer, by name."""
        with self._lock:
            return {name: peer.incarnation for name, peer in self._peers.items()}

    def _check(self, name: str, incarnation: int) -> None:
        if name in ("", BROADCAST, self._own_name) or len(name) > MAX_NAME_LENGTH:
            reason = f"a client may have any name up to {MAX_NAME_LENGTH} characters but "
            reason += f"'', {BROADCAST!r} and {self._own_name!r}"
            raise HelloRefused(name[:MAX_NAME_LENGTH], incarnation, "name_reserved", reason)
        newest = self._newest.get(name, 0)
        if incarnation < newest:
            reason = f"incarnation {newest} of it was here already"
            raise HelloRefused(name, incarnation, "stale_incarnation", reason)
        living = self._peers.get(name)
        if living is not None and incarnation <= living.incarnation:
            reason = f"incarnation {living.incarnation} of it is connected; a new one counts up"
            raise HelloRefused(name, incarnation, "name_taken", reason)
