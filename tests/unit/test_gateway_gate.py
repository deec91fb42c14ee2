"""The line in which an agent's requests wait, as the agent's state shows it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from understudy.actors.gateway.breaker import Breaker
from understudy.actors.gateway.budget import Account, Budget, BudgetPlan
from understudy.actors.gateway.gate import Ask, Gate
from understudy.actors.gateway.ledger import Spent
from understudy.actors.gateway.limits import RateLimits


def paused_gate(tell: Callable[[str, Mapping[str, Any]], None]) -> Gate:
    """A gate through which nothing goes."""
    rng = random.Random(0)  # noqa: S311 - no secret
    limits = RateLimits({})
    limits.pause(time.monotonic() + 60)
    budget = Budget(BudgetPlan())
    return Gate(limits, Breaker(rng), budget, rng, tell, time.monotonic, time.time, max_waiting=9)


def ask() -> Ask:
    now = time.monotonic()
    return Ask(Account("agent_000"), 5, now, now + 120, body_bytes=1, most=Spent())


async def told_of_two_that_wait() -> list[Mapping[str, Any]]:
    told: list[Mapping[str, Any]] = []
    both = asyncio.Event()

    def tell(agent_id: str, wait: Mapping[str, Any]) -> None:
        assert agent_id == "agent_000"
        told.append(wait)
        if len(told) == 2:
            both.set()

    gate = paused_gate(tell)
    waiting = [asyncio.create_task(gate.enter(ask())) for _ in range(2)]
    await asyncio.wait_for(both.wait(), 10)
    for task in waiting:
        task.cancel()
        await asyncio.wait([task], timeout=10)
    gate.close()
    return told


def test_an_agent_waits_until_the_last_of_its_requests_has_gone() -> None:
    told = asyncio.run(told_of_two_that_wait())
    assert [wait["waits_for"] for wait in told] == ["rate_limit", "rate_limit", None]
    # How long it has waited, and will at most of its 120 s.
    assert all(wait["waited_s"] == 0.5 and 110 < wait["at_most_s"] < 120 for wait in told[:2])
