"""Ending an HTTP server so that no connection outlives it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp.web import BaseRunner

_SETTLE_S = 0.01


async def close_runner(runner: BaseRunner) -> None:
    """Stop accepting, then close all connections, also those accepted a moment ago.

    A connection that asyncio (3.11) has accepted when its server is closed, and not yet handed to
    its protocol, is never closed by anybody: so those on the way arrive first. aiohttp's own
    `cleanup` in turn misses one that arrives in the moment before it.
    """
    await asyncio.sleep(_SETTLE_S)
    for site in runner.sites:
        await site.stop()
    await asyncio.sleep(_SETTLE_S)
    await runner.cleanup()
