"""The actors of a system by name, and who started whom. Pure."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

from .actor_errors import InvalidActor, NameTaken, UnknownActor

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}")


@dataclass
class Entry:
    """One actor.

    Args:
        name: unique among the living.
        actor_id: unique for ever: the name, with a number when the name was used before.
        node: the process it is in; one of its own is called by the actor's id.
        parent: the actor that spawned it; None: code outside of actors did.
        address: where it is, as it travels; None until it is up.
        incarnation: of its last start.
        is_up: whether that is ready and has not ended.
        is_unwanted: whether it is to be stopped once it is up.
        claimed_by: the process that is about to start it, and its incarnation; None once the start
            has begun or has come to its end.
        ended: the last incarnation of its process that has ended; 0 for none.
    """

    name: str
    actor_id: str
    node: str
    parent: str | None
    address: list[Any] | None = None
    incarnation: int = 1
    is_up: bool = False
    is_unwanted: bool = False
    claimed_by: tuple[str, int] | None = None
    ended: int = 0
    children: dict[str, None] = field(default_factory=dict[str, None])

    @property
    def key(self) -> str:
        """How watches and waits name it."""
        return f"{self.node}/{self.actor_id}"

    @property
    def is_process(self) -> bool:
        """Whether it has a process of its own."""
        return self.node == self.actor_id


class Names:
    """All living actors of a system. For one thread at a time.

    Args:
        reserved: names of nodes that are no actors.
    """

    def __init__(self, reserved: tuple[str, ...] = ()) -> None:
        self._reserved = reserved
        self._entries: dict[str, Entry] = {}
        self._by_id: dict[str, Entry] = {}
        self._uses: dict[str, int] = {}
        self._given: set[str] = set()
        self._serials = itertools.count(1)

    def claim(
        self, name: str | None, class_name: str, *, node: str | None, parent: str | None
    ) -> Entry:
        """Take a name before its actor is started.

        Args:
            name: None: one is made from the class.
            class_name: for that, and for errors.
            node: the process it will be in; None: one of its own.
            parent: the actor that spawns it.

        Raises:
            NameTaken: it lives.
            InvalidActor: no name looks like that.
        """
        if name is None:
            name = f"{class_name.lower()[:28].strip('_') or 'actor'}-{next(self._serials)}"
        if _NAME.fullmatch(name) is None:
            detail = (
                f"the name {name!r} must be 1 to 40 letters, digits, '_', '.', '-', no dot first"
            )
            raise InvalidActor(class_name, detail)
        if name in self._entries or name in self._reserved:
            raise NameTaken(name)
        actor_id = self._new_id(name)
        entry = Entry(name, actor_id, node or actor_id, parent)
        self._entries[name] = self._by_id[actor_id] = entry
        if parent in self._entries:
            self._entries[parent].children[name] = None
        return entry

    def release(self, name: str) -> Entry | None:
        """The actor is gone for good; its children are orphans until they are stopped."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            del self._by_id[entry.actor_id]
        if entry is not None and entry.parent in self._entries:
            self._entries[entry.parent].children.pop(name, None)
        return entry

    def find(self, name: str) -> Entry:
        """The actor of that name.

        Raises:
            UnknownActor: there is none that is up.
        """
        entry = self._entries.get(name)
        if entry is None or entry.address is None:
            raise UnknownActor(name, tuple(sorted(self._entries)))
        return entry

    def get(self, name: str) -> Entry | None:
        """The actor of that name, also one that is starting."""
        return self._entries.get(name)

    def by_id(self, actor_id: str) -> Entry | None:
        """The actor of that id, also one that is starting."""
        return self._by_id.get(actor_id)

    def within(self, node: str) -> list[Entry]:
        """The actors of one process, the last started first."""
        return [entry for entry in reversed(self._entries.values()) if entry.node == node]

    def claimed_by(self, node: str, incarnation: int) -> list[Entry]:
        """Those that this incarnation of a process, or an earlier one, was about to start."""
        claimed = [e for e in self._entries.values() if e.claimed_by and e.claimed_by[0] == node]
        return [e for e in claimed if e.claimed_by and e.claimed_by[1] <= incarnation]

    def nodes(self) -> list[str]:
        """The processes that are up."""
        return [e.node for e in self._entries.values() if e.is_process and e.is_up]

    def all(self) -> list[str]:
        """The names of all, in the order in which they were claimed."""
        return list(self._entries)

    def stop_order(self, top: str | None = None) -> list[str]:
        """In which order to stop all, or those under `top`: children first, the youngest first."""
        if top is not None:
            entry = self._entries.get(top)
            tops = [] if entry is None else list(entry.children)
        else:
            tops = [e.name for e in self._entries.values() if e.parent not in self._entries]
        order: list[str] = []
        for name in reversed(tops):
            order += [*self.stop_order(name), name]
        return order

    def _new_id(self, name: str) -> str:
        # Refs to a dead actor must never reach the next bearer of its name.
        while True:
            uses = self._uses[name] = self._uses.get(name, 0) + 1
            actor_id = name if uses == 1 else f"{name}.{uses}"
            # `a.2` may be a name, too.
            if actor_id not in self._given:
                self._given.add(actor_id)
                return actor_id
