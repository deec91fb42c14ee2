"""A child process whose work is an asyncio loop: told to stop, and asked for a sign of life."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.supervision import ChildContext


def stop_event(context: ChildContext) -> asyncio.Event:
    """An event that is set in the running loop when the supervisor asks the child to end.

    From now on the loop itself answers the supervisor's pings: a loop that hangs is noticed.
    """
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    context.set_liveness(lambda pong: call_in(loop, pong))
    context.on_stop(lambda: call_in(loop, event.set))
    return event


def call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Have the loop call it, from any thread. A loop that has ended calls nothing."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
