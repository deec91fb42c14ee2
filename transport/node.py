"""This process among its peers: one listening Unix socket, and direct links dialled on demand."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SocketPathUnusable, UntrustedPeer
from .limits import DEFAULT_NODE_LIMITS, NodeLimits
from .listener import Listener, PeerCredentials, check_path_length
from .node_base import NodeBase
from .poller import Poller
from .socket_session import SocketSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import wire
    from .session import Session
    from .waiter import Waiter

_log = logging.getLogger(__name__)

_FLUSH_POLL_S = 0.002


class Node(NodeBase):
    """A process among others that share a folder of sockets.

    Actors that are hosted can be reached from every node as (node name, actor id), over a direct
    link. What is promised: messages of one thread to one actor arrive in order, each at most once
    and whole; each request ends, with an answer, an error or at its deadline, and within
    milliseconds when the link to the actor ends.

    Args:
        name: of this node, unique in the folder: up to 64 of letters, digits, `_`, `.` and `-`.
        folder: of the sockets; made with mode 0700 when missing.
        incarnation: the number of this node's start. From 2 on it takes the socket of its
            predecessor over, which may hang.
        limits: sizes and times.
        codec: whose code writes and reads msgpack; the bytes are the same.
        register_refs: whether refs to actors of other nodes are put into pykka's registry, where
            look-ups find them, and where `stop_all` stops them.
        is_accepting: whether it takes connections at once; else from `accept` on, when its actors
            are there.
        clock: monotonic seconds, the same in all processes of the machine: deadlines travel.

    Raises:
        ValueError: the name is none.
        SocketPathTooLong, SocketInUse, SocketPathUnusable: see `Listener`.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        *,
        incarnation: int = 1,
        limits: NodeLimits = DEFAULT_NODE_LIMITS,
        codec: wire.CodecName = "msgspec",
        register_refs: bool = True,
        is_accepting: bool = True,
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
        self.folder = folder
        path = self._path(name)
        check_path_length(path)
        _check_folder(folder)
        if incarnation > 1:
            Path(path).unlink(missing_ok=True)
        self._listener = Listener(path)
        self._poller = Poller(
            f"understudy-node-{name}",
            call=self._run_calls,
            has_calls=lambda: bool(self._calls),
            sweep=self._sweep,
            flush=self.flush,
            tick_s=limits.tick_s,
            clock=clock,
        )
        # Straight to the poller: they are on the way of every message.
        self.nudge = self._poller.nudge  # type: ignore[method-assign]
        self.wait = self._poller.wait  # type: ignore[method-assign]
        self.may_wait = self._poller.may_wait  # type: ignore[method-assign]
        if is_accepting:
            self.accept()
        self._poller.start()

    def accept(self) -> None:
        """Take connections from now on; those that were made wait for it, with what they sent."""
        self._poller.watch(self._listener.fileno(), self._on_connection)

    def call_soon(self, call: Callable[[], None]) -> None:
        """See `NodeBase`."""
        self._calls.append(call)
        self._poller.wake_service()

    def close(self) -> None:
        """End all links, after what waits was sent (at most `NodeLimits.flush_s`).

        Who awaits an answer gets `ActorLost`. The hosted actors live on, for this process alone.
        Any thread but the service thread and those that are called from it; safe to call again.
        """
        if self._is_closed:
            return
        self._is_closed = True
        with self._dial_lock:
            pass  # who was dialling is through, and nobody begins any more
        self._flush_out()
        self._poller.unwatch(self._listener.fileno())
        self._listener.close()
        self._end_all()
        self._poller.stop()
        self._end_all()  # what was being accepted meanwhile
        for ref in list(self._refs.values()):
            ref.die()

    @property
    def realm(self) -> object:
        """See `RefOwner`."""
        return self.folder

    def wait(self, waiter: Waiter, until_s: float | None) -> bool:
        """See `Parking`."""
        return self._poller.wait(waiter, until_s)

    def nudge(self) -> None:
        """See `NodeBase`."""
        self._poller.nudge()

    def may_wait(self) -> bool:
        """See `NodeBase`."""
        return self._poller.may_wait()

    def _path(self, peer: str) -> str:
        return str(Path(self.folder) / f"{peer}.sock")

    def _flush_out(self) -> None:
        self.flush()
        until_s = self.clock() + self.limits.flush_s
        sessions = [s for s in self._live_sessions() if isinstance(s, SocketSession)]
        while any(s.backlog_bytes for s in sessions if not s.closed):
            if self.clock() > until_s:
                return
            time.sleep(_FLUSH_POLL_S)

    def _dial(self, peer: str) -> Session:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the name of the method says it
            sock.connect(self._path(peer))
            PeerCredentials.of(sock).check(os.geteuid())
        except UntrustedPeer as error:
            sock.close()
            raise PermissionError(errno.EACCES, str(error)) from error
        except OSError:
            sock.close()
            raise
        session = SocketSession(self, sock, self._poller, self._on_end, peer)
        session.start()
        return session

    def _on_connection(self, _events: int) -> None:
        try:
            sock = self._listener.accept()
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                _log.warning("node %r cannot take a connection: %s", self.name, error)
                # Out of descriptors, the connection stays in the queue: no spinning.
                time.sleep(0.01)
            return
        try:
            PeerCredentials.of(sock).check(os.geteuid())
        except UntrustedPeer as error:
            self.traffic.refused += 1
            _log.warning("node %r: %s", self.name, error)
            sock.close()
            return
        session = SocketSession(self, sock, self._poller, self._on_end)
        with self._lock:
            self._all_sessions.add(session)
        session.start()
        self._poller.sweep_soon()

    def _end_all(self) -> None:
        for session in self._live_sessions():
            self._end(session, "this node was closed", is_restart=False)

    def _on_end(self, session: Session, reason: str) -> None:
        self._end(session, reason, is_restart=False)

    def _close_io(self, session: Session) -> None:
        if isinstance(session, SocketSession):
            session.close_socket()

    def _hosting_changed(self) -> None:
        self._poller.share(is_shared=len(self.hosting.all()) > 1)


def _check_folder(folder: str) -> None:
    """See that nobody else can get at the sockets in it."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(folder)  # noqa: PTH116 - one look at owner and mode together
        if status.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(status.st_mode) & 0o077:
            reason = f"the folder {folder} is open to others; chmod 700 it"
            raise SocketPathUnusable(folder, reason)
