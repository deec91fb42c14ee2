"""Where requests wait for their turn: rate limit, breaker and budgets, in one bounded line.

Nothing in here speaks HTTP. What is decided is decided by pure parts (`limits`, `breaker`,
`fairness`, `budget`); this one holds the futures and the timers. Used in the gateway's loop only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .budget import OverBudget
from .fairness import FairLine
from .limits import Cost, Estimate
from .rate_headers import read_retry_after, read_windows

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from .breaker import Breaker
    from .budget import Account, Budget
    from .ledger import Spent
    from .limits import Permit, RateLimits

# Shorter waits are nobody's business.
_TELL_AFTER_S = 0.5
_BACKOFF_MIN_S = 0.5
_BACKOFF_MAX_S = 10.0
_JITTER = 0.1
_MAX_JITTER_S = 1.0
# A shorter pause is no reason to keep tasks back: it is over when their first requests come.
_LONG_PAUSE_S = 5.0
_SAME_PAUSE_S = 1.0

TOO_MANY, OVERLOADED = 429, 529
_DOWN = frozenset({500, 502, 503, 504})
_UNAUTHORIZED = 401
TRANSIENT = frozenset({TOO_MANY, OVERLOADED, *_DOWN})
"""Statuses that the gateway waits out for its agents."""


class NoTurn(Exception):
    """A request does not get its turn.

    Attributes:
        why: `line_full`, `rate_limit`, `overloaded`, `api_down` or `denied`.
        retry_after_s: when it is worth trying again; None when nobody knows.
    """

    def __init__(self, why: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass
class Ask:
    """One request that wants to go, through all its tries.

    Attributes:
        account: who pays.
        priority: the higher the sooner.
        since: when it came, in the gate's time.
        until: when it gives up waiting.
        body_bytes: its size, to guess its tokens by.
        most: what it can cost at most.
        tries: how often it has failed.
        not_before: when it may try again.
        why: what it waits for then.
    """

    account: Account
    priority: int
    since: float
    until: float
    body_bytes: int
    most: Spent
    tries: int = 0
    not_before: float = 0.0
    why: str = "its turn"


@dataclass(eq=False)
class _Waiter:
    ask: Ask
    cost: Cost
    turn: asyncio.Future[Permit]
    why: str = "its turn"
    is_told: bool = False

    @property
    def agent_id(self) -> str:
        return self.ask.account.agent_id

    @property
    def priority(self) -> int:
        return self.ask.priority

    @property
    def since(self) -> float:
        return self.ask.since


@dataclass
class Gate:
    """Lets requests go one by one.

    Attributes:
        clock: monotonic seconds; the loop's own.
        wall: seconds since the epoch, for dates in headers and budgets.
        tell: told that an agent waits: `waits_for` (why; None: no more), and then `waited_s`, how
            long already, and `at_most_s`, how long it may yet.
        max_waiting: how many may wait at once.
        tell_pause: told for how many seconds the API wants no request from anybody, and why; not
            of pauses that are over before it matters to anybody.
    """

    limits: RateLimits
    breaker: Breaker
    budget: Budget
    rng: random.Random
    tell: Callable[[str, Mapping[str, Any]], None]
    clock: Callable[[], float]
    wall: Callable[[], float]
    max_waiting: int
    estimate: Estimate = field(default_factory=Estimate)
    tell_pause: Callable[[float, str], None] = lambda _seconds, _why: None
    _line: FairLine[_Waiter] = field(default_factory=FairLine["_Waiter"])
    # Those whose answer has not begun yet.
    _on_way: set[int] = field(default_factory=set[int])
    _timer: asyncio.TimerHandle | None = None

    # -- waiting ------------------------------------------------------------------------------

    async def enter(self, ask: Ask) -> Permit:
        """Wait for the turn of a request.

        Raises:
            OverBudget: its account is used up.
            NoTurn: it cannot go in time.
        """
        if len(self._line) >= self.max_waiting:
            text = f"{self.max_waiting} requests wait already (gateway.max_queue)"
            raise NoTurn("line_full", text, 5.0)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(ask, self.estimate.cost(ask.body_bytes), loop.create_future())
        self._line.add(waiter)
        later = self.clock()
        timers = [
            loop.call_later(max(0.0, ask.until - later), self._give_up, waiter),
            loop.call_later(_TELL_AFTER_S, self._tell_of, waiter),
        ]
        self._pump()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
                self.never_sent(waiter.turn.result(), ask)
            raise
        finally:
            self._line.discard(waiter)
            for timer in timers:
                timer.cancel()
            if waiter.is_told and not self._still_waits(waiter.agent_id):
                self.tell(waiter.agent_id, {"waits_for": None})

    def _still_waits(self, agent_id: str) -> bool:
        return any(w.is_told and w.agent_id == agent_id for w in self._line)

    def _give_up(self, waiter: _Waiter) -> None:
        waited_s = self.clock() - waiter.ask.since
        text = f"the gateway held this request for {waited_s:.0f} s: {waiter.why}"
        _refuse(waiter, NoTurn(waiter.why, text, 1.0))

    def _tell_of(self, waiter: _Waiter) -> None:
        if not waiter.turn.done():
            waiter.is_told = True
            rest_s = max(0.0, waiter.ask.until - self.clock())
            wait = {"waits_for": waiter.why, "waited_s": _TELL_AFTER_S, "at_most_s": rest_s}
            self.tell(waiter.agent_id, wait)

    def _pump(self) -> None:
        """Let go whoever may; be called again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self.clock()
        wake = min((w for w in self._let_go(now) if w is not None), default=None)
        if wake is not None:
            loop = asyncio.get_running_loop()
            # A moment later than computed: a timer that comes early would only turn again.
            self._timer = loop.call_later(max(0.0, wake - now) + 0.001, self._pump)

    def _let_go(self, now: float) -> list[float | None]:
        """Let go whoever may at that time. When others may, as far as it is known."""
        wakes: list[float | None] = []
        held: str | None = None
        for waiter in self._line.in_order(now):
            if waiter.turn.done() or self._is_refused(waiter):
                continue
            if waiter.ask.not_before > now:
                waiter.why = waiter.ask.why
                wakes.append(waiter.ask.not_before)
                continue
            if held is None:
                held, at = self._blocked(waiter, now)
                wakes.append(at)
            if held is not None:
                # A smaller or later request does not overtake: the large one would never go.
                waiter.why = held
            elif not self.budget.has_room(waiter.ask.account, waiter.ask.most):
                waiter.why = "budget"
            else:
                self._go(waiter, now)
        return wakes

    def _is_refused(self, waiter: _Waiter) -> bool:
        """Whether it can never go; it is told."""
        try:
            self.budget.check(waiter.ask.account, self.wall())
        except OverBudget as error:
            return _refuse(waiter, error)
        if (denied := self.breaker.refusal(self.clock())) is not None:
            return _refuse(waiter, NoTurn("denied", denied))
        if self.limits.paused_until > waiter.ask.until:
            wait_s = self.limits.paused_until - self.clock()
            text = f"the API asks to wait for {wait_s:.0f} s"
            return _refuse(waiter, NoTurn("rate_limit", text, wait_s))
        return False

    def _blocked(self, waiter: _Waiter, now: float) -> tuple[str | None, float | None]:
        """What holds up everybody, and until when as far as it is known."""
        room = self.breaker.room(now)
        if room is not None and len(self._on_way) >= room:
            return self.breaker.why, self.breaker.open_until if room == 0 else None
        wait_s = self.limits.wait_s(now, waiter.cost)
        return ("rate_limit", now + wait_s) if wait_s > 0 else (None, None)

    def _go(self, waiter: _Waiter, now: float) -> None:
        self._line.go(waiter)
        permit = self.limits.take(now, waiter.cost)
        self._on_way.add(permit.number)
        self.budget.reserve(permit.number, waiter.ask.account, waiter.ask.most)
        waiter.turn.set_result(permit)

    # -- what became of it --------------------------------------------------------------------

    def answered(self, permit: Permit, ask: Ask, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer has come. A transient failure sets `ask.not_before`."""
        now = self.clock()
        self._on_way.discard(permit.number)
        windows = read_windows(headers)
        retry_after_s = read_retry_after(headers, self.wall()) if status in TRANSIENT else None
        if status in TRANSIENT:
            ask.why = _word(status)
            self._put_off(ask, now, retry_after_s)
        if status in TRANSIENT and not (status == TOO_MANY and windows):
            self.breaker.failed(now, permit.at, _word(status))
        elif status not in TRANSIENT and status != _UNAUTHORIZED:
            self.breaker.succeeded(permit.at)
        if windows:
            self.limits.learn(now, permit, windows)
        elif status >= 400:  # noqa: PLR2004 - HTTP's own border
            self.limits.give_back(now, permit)
        self._pump()

    def unreached(self, permit: Permit, ask: Ask) -> None:
        """No answer came. The request may try again at `ask.not_before`."""
        now = self.clock()
        self._on_way.discard(permit.number)
        self.limits.give_back(now, permit)
        ask.why = "api_down"
        self._put_off(ask, now, None)
        self.breaker.failed(now, permit.at, "api_down")
        self._pump()

    def never_sent(self, permit: Permit, ask: Ask) -> None:
        """The client went away before its request left."""
        self._on_way.discard(permit.number)
        self.limits.give_back(self.clock(), permit)
        self.budget.release(permit.number, ask.account)
        self._pump()

    def measured(self, permit: Permit, ask: Ask, cost: Cost) -> None:
        """The true cost of an answer."""
        self.limits.correct(self.clock(), permit, cost)
        self.estimate.learn(ask.body_bytes, cost)

    def settle(self, permit: Permit, ask: Ask, asked_at: float, spent: Spent) -> None:
        """A request is over, whatever became of it."""
        self._on_way.discard(permit.number)
        self.budget.settle(permit.number, ask.account, asked_at, spent)
        self._pump()

    def deny(self, reason: str) -> None:
        """The credential is rejected: whoever waits is told."""
        self.breaker.break_(reason, self.clock())
        self._pump()

    def mend(self) -> None:
        """There is a new credential."""
        self.breaker.mend()
        self._pump()

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()

    def describe(self) -> dict[str, Any]:
        """Where it stands, for views."""
        now = self.clock()
        return {
            "waiting": len(self._line),
            "breaker": self.breaker.state(now),
            "limits": self.limits.describe(now),
        }

    def _put_off(self, ask: Ask, now: float, retry_after_s: float | None) -> None:
        """When a failed request may try again; what the API asks for holds for everybody."""
        backoff_s = min(_BACKOFF_MAX_S, _BACKOFF_MIN_S * 2.0 ** min(ask.tries, 30))
        ask.tries += 1
        if retry_after_s is not None:
            # Some say 0: whoever believes them asks in a loop.
            backoff_s = max(retry_after_s, _BACKOFF_MIN_S)
            # Of many that are refused at one moment, each says the same.
            is_news = now + retry_after_s > self.limits.paused_until + _SAME_PAUSE_S
            self.limits.pause(now + retry_after_s)
            if retry_after_s >= _LONG_PAUSE_S and is_news:
                self.tell_pause(retry_after_s, ask.why)
        more_s = min(_MAX_JITTER_S, backoff_s * _JITTER)
        ask.not_before = now + backoff_s + more_s * self.rng.random()


def _refuse(waiter: _Waiter, error: Exception) -> bool:
    if not waiter.turn.done():
        waiter.turn.set_exception(error)
    return True


def _word(status: int) -> str:
    return {TOO_MANY: "rate_limit", OVERLOADED: "overloaded"}.get(status, "api_down")
