"""Ending an HTTP server so that no connection outlives it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp.web import BaseRunner

# From accepting a connection to its protocol knowing of it, asyncio's selector loop needs three.
_ROUNDS = 4


async def close_runner(runner: BaseRunner) -> None:
    """Stop accepting, wait for what was just accepted, then close all connections.

    aiohttp's own `cleanup` misses a connection that was accepted in the moment before it.
    """
    for site in runner.sites:
        await site.stop()
    await _settle()
    await runner.cleanup()
    await _settle()


async def _settle() -> None:
    """Let the loop do what it has put off: connections close a few rounds after they are told."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
