"""Who gets a message that reached the server: a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .message import BROADCAST

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Route:
    """Where one message goes."""

    is_local: bool
    peers: tuple[str, ...]
    is_unknown: bool = False


def route(receiver_id: str, *, origin: str | None, own_name: str, peers: Collection[str]) -> Route:
    """Where a message goes.

    Args:
        receiver_id: whom it is for. Nobody in particular ("") means the server.
        origin: the peer it came from, or None when the server itself sends it.
        own_name: the server's name.
        peers: the names that are connected.
    """
    if receiver_id == BROADCAST:
        others = tuple(name for name in peers if name != origin)
        return Route(is_local=origin is not None, peers=others)
    if receiver_id in ("", own_name):
        return Route(is_local=True, peers=())
    if receiver_id in peers:
        return Route(is_local=False, peers=(receiver_id,))
    return Route(is_local=False, peers=(), is_unknown=True)
