"""Names taken for actors that are about to be started, until they are, or their process ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.transport.errors import SocketPathTooLong
from understudy.transport.listener import check_path_length

from .actor_errors import ActorStartFailed, InvalidActor
from .member_base import INCARNATION_SHIFT

if TYPE_CHECKING:
    from .names import Entry, Names


class Claims:
    """The claims of all processes of a system. For one thread at a time.

    Args:
        names: where they are entered.
        root: the node whose claims need no process in `names`.
        folder: of the processes' sockets.
    """

    def __init__(self, names: Names, root: str, folder: str) -> None:
        self._names = names
        self._root = root
        self._folder = folder

    def take(self, node: str, payload: dict[str, Any]) -> Entry:
        """Take a name for an actor that this process will start.

        Raises:
            NameTaken, InvalidActor: see `Names.claim`; or the path of its socket is too long.
            ActorStartFailed: the process has ended.
        """
        incarnation = payload["id"] >> INCARNATION_SHIFT
        self._check_lives(node, incarnation, payload["class_name"])
        parent = self._names.by_id(payload["parent"] or "")
        entry = self._names.claim(
            payload["name"],
            payload["class_name"],
            node=None if payload["process"] else node,
            parent=None if parent is None else parent.name,
        )
        if entry.is_process:
            self._check_socket(entry)
        entry.claimed_by = (node, incarnation)
        return entry

    def use(self, actor_id: str, name: str) -> None:
        """Its start begins.

        Raises:
            ActorStartFailed: the claim is over.
        """
        entry = self._names.by_id(actor_id)
        if entry is None or entry.claimed_by is None:
            raise ActorStartFailed(name, "its name was given back")
        entry.claimed_by = None

    def socket(self, actor_id: str) -> Path:
        """The path of the socket of an actor's process."""
        return Path(self._folder, f"{actor_id}.sock")

    def _check_lives(self, node: str, incarnation: int, class_name: str) -> None:
        """See that it is no last word of a process that has ended: nobody would stop its child."""
        entry = self._names.by_id(node)
        if node != self._root and (entry is None or incarnation <= entry.ended):
            raise ActorStartFailed(class_name, f"the process {node}, which asked for it, has ended")

    def _check_socket(self, entry: Entry) -> None:
        try:
            check_path_length(str(self.socket(entry.actor_id)))
        except SocketPathTooLong as error:
            self._names.release(entry.name)
            detail = f"{error}; or give the actor a shorter name"
            raise InvalidActor(entry.name, detail) from error
