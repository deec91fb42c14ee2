"""What all agents of a gateway share: the way out, the line, the books. Built from plain data."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .accounts import Accounts
from .breaker import Breaker
from .budget import Budget, BudgetPlan
from .credential_source import CredentialSource
from .gate import Gate
from .ledger import Ledger
from .limits import RateLimits
from .prices import PRICES_FILE, Prices, load_prices
from .rate_headers import WINDOWS, WindowName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .client import UpstreamClient
    from .credentials import Credentials

_DAY_S = 86400.0
_PATIENCE_S = 20.0


@dataclass
class Desk:
    """What all agents of a gateway share.

    Attributes:
        upstream: whom requests go to.
        source: what they are sent with.
        gate: where they wait.
        accounts: where they are written down.
        report: gets the usage of each answer; in the loop, must not block.
        max_wait_s: how long a request is held at most.
        head_s: how long the API may take to begin an answer.
        patience_s: after that time without an answer, a stream is begun with pings.
        ping_s: between two pings.
        unread_s: how long an agent may leave an answer unread.
    """

    upstream: UpstreamClient
    source: CredentialSource
    gate: Gate
    accounts: Accounts
    report: Callable[[dict[str, Any]], None]
    max_wait_s: float = 600.0
    head_s: float = 120.0
    patience_s: float = _PATIENCE_S
    ping_s: float = 10.0
    unread_s: float = 600.0


@dataclass(frozen=True)
class DeskPlan:
    """What the gateway's child spec says of limits, budgets and books.

    Attributes:
        ledger: the path of the ledger's file.
        fleet: what this fleet's requests are filed under.
        prices: the price table.
        budget: the caps.
        limits: limits of our own, a minute, by window.
        source: where a newer credential is found; see `CredentialSource.of_plan`.
        max_waiting: how many requests may wait.
        max_wait_s, head_s: see `Desk`.
        keep_s: how long the ledger is kept.
    """

    ledger: Path
    fleet: str
    prices: Prices
    budget: BudgetPlan = field(default_factory=BudgetPlan)
    limits: Mapping[WindowName, float] = field(default_factory=dict["WindowName", float])
    source: Mapping[str, Any] = field(default_factory=dict[str, Any])
    max_waiting: int = 256
    max_wait_s: float = 600.0
    head_s: float = 120.0
    keep_s: float = 30 * _DAY_S

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> DeskPlan:
        """Check the arguments.

        Raises:
            InvalidPrices: the price table cannot be used.
        """
        named: dict[str, float | None] = args.get("limits") or {}
        return cls(
            ledger=Path(args["ledger"]),
            fleet=args["fleet"],
            prices=load_prices(Path(args.get("prices") or PRICES_FILE)),
            budget=BudgetPlan.from_wire(args.get("budget") or {}),
            limits={name: limit for name in WINDOWS if (limit := named.get(name))},
            source=args.get("source") or {},
            **{n: args[n] for n in ("max_waiting", "max_wait_s", "head_s", "keep_s") if n in args},
        )


def make_desk(
    plan: DeskPlan,
    upstream: UpstreamClient,
    credentials: Credentials,
    report: Callable[[dict[str, Any]], None],
    *,
    rng: random.Random | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> Desk:
    """The desk of that plan. In the gateway's loop.

    Args:
        plan: what it does.
        upstream: whom requests go to.
        credentials: the ones to begin with.
        report: gets usage (`kind: usage`), who waits (`kind: waiting`), and for how long nobody
            may ask (`kind: paused`); must not block.
        rng: chance for jitter.
        clock: monotonic seconds; the loop's own.
        wall: seconds since the epoch.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    rng = rng or random.Random()  # noqa: S311 - jitter is no secret
    budget = Budget(plan.budget)
    ledger = Ledger(plan.ledger)
    ledger.forget(wall() - plan.keep_s)
    window_s = plan.budget.window_s
    accounts = Accounts(
        plan.fleet, ledger, plan.prices, budget, clock=clock, wall=wall, window_s=window_s
    )

    def tell(agent_id: str, wait: Mapping[str, Any]) -> None:
        report({"kind": "waiting", "agent_id": agent_id, **wait})

    def tell_pause(seconds: float, why: str) -> None:
        report({"kind": "paused", "for_s": seconds, "why": why})

    gate = Gate(
        RateLimits(plan.limits),
        Breaker(rng),
        budget,
        rng,
        tell,
        clock,
        wall,
        max_waiting=plan.max_waiting,
        tell_pause=tell_pause,
    )
    source = CredentialSource.of_plan(credentials, plan.source, clock)
    return Desk(
        upstream,
        source,
        gate,
        accounts,
        report,
        max_wait_s=plan.max_wait_s,
        head_s=plan.head_s,
        # Well before the client gives up.
        patience_s=min(_PATIENCE_S, plan.head_s / 3),
    )
