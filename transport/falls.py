"""Whether an actor's fall is what stops all others, in the thread that it falls in."""

from __future__ import annotations

import inspect

from .pykka_parts import LOOP_CODE, STOP_ALL_CODE


def is_stop_of_a_fall() -> bool:
    """Whether pykka's loop, and nobody's code, stops all actors here: one fell.

    It does so when a `BaseException` ended an actor. The stack tells of every actor's fall, also of
    a plain one's that was never adopted.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not STOP_ALL_CODE:
        frame = frame.f_back
    return frame is not None and frame.f_back is not None and frame.f_back.f_code is LOOP_CODE
