"""Two nodes, for what must hold over sockets and in memory, with either codec."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.transport import RemoteRef

if TYPE_CHECKING:
    from collections.abc import Callable

    import pykka

    from understudy.transport.node_base import NodeBase


@dataclass
class Pair:
    """Two nodes, and a way to see an actor of one from the other."""

    here: NodeBase
    there: NodeBase

    def seen(self, ref: pykka.ActorRef[Any], **host: Any) -> RemoteRef:
        remote = self.here.ref(self.there.host(ref, **host))
        assert isinstance(remote, RemoteRef)
        return remote

    def start(self, actor_class: type[pykka.ThreadingActor], *args: Any, **host: Any) -> RemoteRef:
        return self.seen(actor_class.start(*args), **host)


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.001)
