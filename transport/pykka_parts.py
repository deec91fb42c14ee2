"""The parts of pykka that are no public names, in one place: what a new release may move.

pykka keeps them for implementors of new kinds of actors, which this folder is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pykka
from pykka import messages
from pykka._envelope import Envelope
from pykka._introspection import get_attr_directly, introspect_attrs

if TYPE_CHECKING:
    from types import CodeType

ActorStop = messages._ActorStop  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the message that `ActorRef.stop` sends
LOOP_CODE = pykka.Actor._actor_loop_running.__code__  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - what stops all when an actor falls
STOP_ALL_CODE: CodeType = vars(pykka.ActorRegistry)["stop_all"].__func__.__code__
"""The code objects by which their frames are known."""

__all__ = [
    "LOOP_CODE",
    "STOP_ALL_CODE",
    "ActorStop",
    "Envelope",
    "get_attr_directly",
    "introspect_attrs",
]
