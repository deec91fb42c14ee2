"""Ctrl-C and SIGTERM: the first one interrupts, one after it makes the cleaning up fast."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_hurry: list[Callable[[], None]] = []


def arm_interrupt() -> None:
    """Have the next SIGINT or SIGTERM raise KeyboardInterrupt, and those after it only hurry.

    Cleaning up is never interrupted: it has limits of its own, and short ones once it hurries.
    Whoever cannot wait for it sends SIGKILL: the guard and the next run remove what is left.
    """
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def hurry_by(callback: Callable[[], None]) -> None:
    """Call it on each signal after the first one; it must take no lock."""
    _hurry.append(callback)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, _again)
    raise KeyboardInterrupt


def _again(_number: int, _frame: FrameType | None) -> None:
    for callback in _hurry:
        callback()
