"""The parts of pykka that are no public names, in one place: what a new release may move.

pykka keeps them for implementors of new kinds of actors, which this folder is.
"""

from __future__ import annotations

from pykka import messages
from pykka._envelope import Envelope
from pykka._introspection import get_attr_directly, introspect_attrs

ActorStop = messages._ActorStop  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the message that `ActorRef.stop` sends

__all__ = ["ActorStop", "Envelope", "get_attr_directly", "introspect_attrs"]
