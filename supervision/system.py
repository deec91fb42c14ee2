"""`ActorSystem`: the root of actors in this and other processes."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Self

import pykka

from understudy.transport.address import Address
from understudy.transport.node import Node

from .actor_processes import ActorProcesses
from .dead_letters import DeadLetterReport, SystemDeadLetter, collect, discard
from .desk import Desk
from .member import SystemMember
from .member_base import REQUEST_S, ROOT
from .own_folder import OwnFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from understudy.transport.wire import CodecName

_log = logging.getLogger(__name__)

_STOP_ALL_S = 60.0


class ActorSystem(SystemMember):
    """Actors in this process and in processes of their own, that find, watch and ask each other.

    All processes are children of one fork server, also those that actors in other processes asked
    for. Use it in a `with` block, or call `close`. When this process dies, all of them end.

    Args:
        name: for people.
        folder: where the processes' sockets are, on a local disk, with a short path: that of a
            socket, `<folder>/<actor's name>.sock`, is at most 107 bytes. Only this user may enter
            it. None: one is made in the temporary directory, and removed at the end; what a
            killed root left there is removed, too.
        preload: modules that the actors of other processes need: their starts are quicker then.
            They must not start threads when imported.
        codec: whose code writes and reads msgpack, `msgspec` or `msgpack`; the bytes are the same.
    """

    def __init__(
        self,
        name: str = "actors",
        *,
        folder: str | None = None,
        preload: Sequence[str] = (),
        codec: CodecName = "msgspec",
    ) -> None:
        self._own_folder = None if folder else OwnFolder()
        self._folder = self._own_folder.path if self._own_folder else str(folder)
        try:
            node = Node(ROOT, self._folder, codec=codec)
        except BaseException:
            self._remove_folder()
            raise
        child_args = {"folder": self._folder, "system": name, "codec": codec}
        self._desk = Desk(ROOT, self._send, self._stop_local, child_args)
        self._processes = ActorProcesses(preload, self._desk.post_event)
        self._close_lock = threading.Lock()
        super().__init__(name, node)
        self._processes.open()
        self._desk.start(self._processes)

    def stop_all(self, *, timeout_s: float = _STOP_ALL_S) -> None:
        """Stop all actors, one by one: children before parents, the latest started first.

        Raises:
            pykka.Timeout: one has not ended within that time; all have been asked to.
        """
        self._stop_each(self._stop_order(None), self._node.clock() + timeout_s)

    def dead_letters(self, limit: int = 100, *, timeout_s: float = 2.0) -> DeadLetterReport:
        """What nobody took, in all processes: how many, and the newest of each.

        Args:
            limit: of each process.
            timeout_s: for all answers together; who does not answer by then is named as missing.

        Raises:
            ValueError: the limit is not positive.
            SystemClosed: the system is over.
        """
        if limit < 1:
            raise ValueError(f"limit must be 1 or more, not {limit}")
        processes = self._request("nodes", {}, REQUEST_S)["nodes"]
        return collect(self._node, processes, limit, timeout_s)

    def replay(
        self, letter: SystemDeadLetter, to: pykka.ActorRef[Any], *, timeout_s: float = 2.0
    ) -> bool:
        """Tell an actor what a dead letter says; its process keeps the letter no more.

        Returns:
            Whether it was kept until now; False: somebody else may have sent it again, too.

        Raises:
            ValueError: what it says cannot leave its process.
            ActorDeadError, MailboxFull: it could not be told, and is kept.
            NodeError, pykka.Timeout: it was told, but the letter's process does not answer.
        """
        if not letter.is_whole:
            raise ValueError(f"dead letter {letter.number} can be sent in {letter.process} alone")
        to.tell(letter.message)
        return discard(self._node, letter, timeout_s)

    def close(self, *, timeout_s: float = _STOP_ALL_S) -> None:
        """Stop all actors, and end what the system has: processes, threads, sockets. Idempotent.

        Args:
            timeout_s: for the actors to stop; processes that are left are killed.
        """
        with self._close_lock:
            if self._is_closed:
                return
            try:
                self.stop_all(timeout_s=timeout_s)
            except pykka.Timeout:
                _log.warning("system %s: actors have not stopped within %g s", self.name, timeout_s)
            self._close_member()
            self._processes.close()
            self._desk.close()
            self._node.close()
            self._remove_folder()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------------

    def _remove_folder(self) -> None:
        if self._own_folder is not None:
            self._own_folder.remove()

    def _tell_root(self, op: str, payload: dict[str, Any]) -> None:
        self._desk.post(ROOT, {"op": op, **payload})

    def _take(self, peer: str, incarnation: int, payload: dict[str, Any]) -> None:
        # What comes from another process is for the root; the desk itself speaks as ROOT.
        if peer == ROOT or payload.get("op") in ("link", "unlink"):
            super()._take(peer, incarnation, payload)
        else:
            self._desk.post(peer, payload)

    def _stop_local(self, address: list[Any]) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            self._node.ref(Address.from_wire(address)).stop(block=False)
