"""Nodes of one process that are joined by a hub: for tests. The same bytes, but no sockets."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from .errors import DecodeError, SocketInUse
from .limits import DEFAULT_NODE_LIMITS, NodeLimits
from .node_base import NodeBase
from .session import Session
from .waiter import LOCK_PARKING, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import wire
    from .outlet import SessionOwner

_log = logging.getLogger(__name__)

_JOIN_S = 10.0
_IDLE_S = 1.0


class MemoryHub:
    """The nodes that can reach each other."""

    def __init__(self) -> None:
        self.nodes: dict[str, MemoryNode] = {}


class MemorySession(Session):
    """One end of a link within the process. See `Session`."""

    def __init__(self, owner: SessionOwner, peer: str = "") -> None:
        super().__init__(owner, peer)
        self.other: MemorySession | None = None
        self.deliver: Callable[[bytes], None] = lambda _body: None

    def _transmit(self, parts: list[bytes], total: int) -> None:  # noqa: ARG002 - as the base says
        if self.other is not None:
            self.other.deliver(b"".join(parts)[4:])


class _Service(Waiter):
    def __init__(self, node: MemoryNode) -> None:
        super().__init__()
        self._node = node

    def ready(self) -> bool:
        return self._node.has_work()


class MemoryNode(NodeBase):
    """A `Node` without sockets. Its service thread reads; the rest is the same.

    Args:
        name: of this node.
        hub: what joins it with the others.
        incarnation: see `Node`, and the others.
        limits: see `Node`.
        codec: see `Node`.
        register_refs: see `Node`.
        clock: monotonic seconds.

    Raises:
        ValueError: the name is none.
        SocketInUse: a living node has it.
    """

    def __init__(
        self,
        name: str,
        hub: MemoryHub,
        *,
        incarnation: int = 1,
        limits: NodeLimits = DEFAULT_NODE_LIMITS,
        codec: wire.CodecName = "msgspec",
        register_refs: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            name,
            incarnation=incarnation,
            limits=limits,
            codec=codec,
            register_refs=register_refs,
            clock=clock,
        )
        if incarnation <= 1 and name in hub.nodes:
            raise SocketInUse(name)
        self._hub = hub
        self._frames: deque[tuple[MemorySession, bytes | None]] = deque()
        self._service = _Service(self)
        self._is_nudged = False
        self._thread = threading.Thread(
            target=self._run, name=f"understudy-node-{name}", daemon=True
        )
        hub.nodes[name] = self
        self._thread.start()

    def has_work(self) -> bool:
        """Whether the service thread has something to do."""
        return bool(self._frames or self._calls or self._is_nudged or self._is_closed)

    @property
    def realm(self) -> object:
        """See `RefOwner`."""
        return self._hub

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        """See `NodeBase`."""
        self.flush()
        return LOCK_PARKING.wait(waiter, until_s)

    def nudge(self) -> None:
        """See `NodeBase`."""
        self._is_nudged = True
        self._service.wake()

    def may_wait(self) -> bool:
        """See `NodeBase`."""
        return threading.current_thread() is not self._thread

    def call_soon(self, call: Callable[[], None]) -> None:
        """See `NodeBase`."""
        self._calls.append(call)
        self._service.wake()

    def close(self) -> None:
        """See `Node.close`."""
        if self._is_closed:
            return
        self.flush()
        self._is_closed = True
        if self._hub.nodes.get(self.name) is self:
            del self._hub.nodes[self.name]
        for session in self._live_sessions():
            self._end(session, "this node was closed", is_restart=False)
        self._service.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)
        for ref in list(self._refs.values()):
            ref.die()

    def _take_frame(self, session: MemorySession, body: bytes | None) -> None:
        """Have a frame, or the end of the link, dealt with in the service thread."""
        self._frames.append((session, body))
        self._service.wake()

    def _accept(self) -> MemorySession:
        session = MemorySession(self)
        session.deliver = lambda body: self._take_frame(session, body)
        with self._lock:
            self._all_sessions.add(session)
        return session

    def _dial(self, peer: str) -> Session:
        other = self._hub.nodes.get(peer)
        if other is None:
            raise ConnectionRefusedError(111, "no node of that name is on the hub")
        session = MemorySession(self, peer)
        session.deliver = lambda body: self._take_frame(session, body)
        session.other = other._accept()  # noqa: SLF001 - one of its own
        session.other.other = session
        return session

    def _close_io(self, session: Session) -> None:
        if isinstance(session, MemorySession) and session.other is not None:
            other, session.other = session.other, None
            node = other.owner
            if isinstance(node, MemoryNode):
                node._take_frame(other, None)  # noqa: SLF001 - one of its own

    def _hosting_changed(self) -> None:
        pass

    def _run(self) -> None:
        while not self._is_closed or self._frames or self._calls:
            self._is_nudged = False
            for _ in range(len(self._frames)):
                self._read(*self._frames.popleft())
            self._run_calls()
            self.flush()
            self._sweep()
            if not self._is_closed:
                self._service.sleep(_IDLE_S)

    def _read(self, session: MemorySession, body: bytes | None) -> None:
        if session.closed:
            return
        if body is None:
            self._end(session, "the other end closed the connection", is_restart=False)
            return
        try:
            session.take(body)
        except DecodeError as error:
            self.traffic.malformed += 1
            self._end(session, str(error), is_restart=False)
