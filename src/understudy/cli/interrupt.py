"""Ctrl-C and SIGTERM: the first one interrupts, the cleaning up after it is left in peace."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def arm_interrupt() -> None:
    """Have the next SIGINT or SIGTERM raise KeyboardInterrupt, and those after it ignored.

    Cleaning up has limits of its own. Whoever cannot wait for it sends SIGKILL: the guard and the
    next run remove what is left.
    """
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
