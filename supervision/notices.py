"""What a system puts into the control lane of its actors' mailboxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .watch import Down


@dataclass(frozen=True)
class Notice:
    """An actor that this one watches, or is linked to, has ended.

    Args:
        down: what is told.
        is_link: whether the two were linked.
        is_due: asked when it is taken out: False when the watch was withdrawn meanwhile. True once.
    """

    down: Down
    is_link: bool
    is_due: Callable[[], bool]


@dataclass(frozen=True)
class Ping:
    """The actor's loop is to show that it works."""

    pong: Callable[[], None]
