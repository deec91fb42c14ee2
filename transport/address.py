"""Where an actor is, as plain data that may travel."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import pykka

from .errors import DecodeError

_stand_ins: dict[str, type[pykka.Actor]] = {}


@dataclass(frozen=True)
class Address:
    """An actor among all nodes.

    Attributes:
        node: the name of the node that hosts it.
        actor_id: what it is called there.
        incarnation: the number of its start.
        actor_class: its class, as `module:qualname`.
        urn: pykka's name for it.
        window: how many of one peer's messages may wait in its mailbox.
        window_bytes: their size together.
        block_s: how long a sender waits for room; 0 does not wait.
        is_dead: whether it had stopped already when this was said.
    """

    node: str
    actor_id: str
    incarnation: int
    actor_class: str
    urn: str
    window: int
    window_bytes: int
    block_s: float
    is_dead: bool = False

    @property
    def key(self) -> str:
        """Node and actor in one word, as call chains name them."""
        return f"{self.node}/{self.actor_id}"

    def to_wire(self) -> list[Any]:
        """As it travels."""
        fields = [
            self.node,
            self.actor_id,
            self.incarnation,
            self.actor_class,
            self.urn,
            self.window,
            self.window_bytes,
            self.block_s,
        ]
        return [*fields, True] if self.is_dead else fields

    @classmethod
    def from_wire(cls, record: object) -> Address:
        """The address that travelled; what a later version added is skipped.

        Raises:
            DecodeError: it is none.
        """
        types = (str, str, int, str, str, int, int, int | float)
        fields: list[Any] = list(cast("list[object]", record)) if isinstance(record, list) else []
        if len(fields) < len(types) or not all(
            isinstance(field, kind) for field, kind in zip(fields, types, strict=False)
        ):
            raise DecodeError("an address is not what the protocol says")
        is_dead = len(fields) > len(types) and fields[len(types)] is True
        values: list[Any] = [*fields[: len(types)], is_dead]
        return cls(*values)


def class_path(actor_class: type) -> str:
    """How a class is named in an address."""
    return f"{actor_class.__module__}:{actor_class.__qualname__}"


def class_of(path: str) -> type[pykka.Actor]:
    """The class of that name, if this process has it; else a stand-in with the same names.

    Nothing is imported: what another process says must not run code here.
    """
    module, _, qualname = path.partition(":")
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        # By the namespace and not by getattr, which may run code: a module's own, a property's.
        found = vars(found).get(part) if isinstance(found, type | ModuleType) else None
    if isinstance(found, type) and issubclass(found, pykka.Actor):
        return found
    if path not in _stand_ins:
        name = qualname.rpartition(".")[2]
        body = {"__module__": module, "__qualname__": qualname}
        _stand_ins[path] = type(name, (pykka.ThreadingActor,), body)
    return _stand_ins[path]
