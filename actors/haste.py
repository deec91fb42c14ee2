"""An end that must be fast: what is left is killed instead of being asked."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from understudy.supervision import ForkServer

_log = logging.getLogger(__name__)

_LOOK_S = 0.05


class Haste:
    """Turned on once, from anywhere, also in a signal's handler: that takes no lock."""

    def __init__(self) -> None:
        self.is_on = False

    def hurry(self) -> None:
        """From now on nothing is waited for."""
        self.is_on = True


@contextlib.contextmanager
def killing_in_haste(haste: Haste, forks: ForkServer) -> Generator[None]:
    """While the block ends children in order: kill all that are left as soon as haste is on."""
    done = threading.Event()

    def watch() -> None:
        told = False
        while not done.wait(_LOOK_S):
            if not haste.is_on:
                continue
            if not told:
                _log.warning("the end is wanted now: what still runs is killed")
                told = True
            if not forks.kill_children():
                return

    watcher = threading.Thread(target=watch, name="understudy-haste", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join(5.0)
