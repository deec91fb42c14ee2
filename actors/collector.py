"""Python's garbage collector, out of the way of what makes many objects at once."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextlib.contextmanager
def collector_paused() -> Generator[None]:
    """No cycles are looked for inside; what nobody refers to goes as ever.

    While objects are made that all stay, the collector goes through them again and again and finds
    nothing: 45 % of the time to take up 100,000 tasks. It is left as it was found.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
