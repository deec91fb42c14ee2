"""Budgets: what a task, an agent and the fleet may spend. Pure: time and sums are passed in.

A request passes while what is spent, and the most that the requests on their way may still cost,
is below every cap. Near a cap requests therefore go one by one, and what is spent ends above a cap
by one request at most. How long one takes at most nobody knows: it is taken for the longest so far.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..failure import BUDGET_MARK as MARK
from .ledger import Spent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_SHOWN = {"dollars": "${:.4f}", "tokens": "{:,} tokens", "turns": "{} turns", "seconds": "{:.0f} s"}


@dataclass(frozen=True)
class Caps:
    """The most that may be spent; None is no cap."""

    dollars: float | None = None
    tokens: int | None = None
    turns: int | None = None
    seconds: float | None = None

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Caps:
        """What a plan or a task says; what it does not name has no cap."""
        return cls(**{name: data.get(name) for name in _SHOWN})

    def first_reached(self, spent: Spent) -> str | None:
        """The name of the first cap that is reached."""
        return next((n for n, cap in self._set() if getattr(spent, n) >= cap), None)

    def would_pass(self, spent: Spent, more: Spent) -> bool:
        """Whether so much more stays within every cap."""
        return all(getattr(spent, n) + getattr(more, n) <= cap for n, cap in self._set())

    def _set(self) -> Iterable[tuple[str, float]]:
        caps = ((name, getattr(self, name)) for name in _SHOWN)
        return [(name, cap) for name, cap in caps if cap is not None]


@dataclass(frozen=True)
class BudgetPlan:
    """The caps of the configuration.

    Attributes:
        window_s: an agent's and the fleet's spending counts for so long; a task's for ever.
    """

    task: Caps = Caps()
    agent: Caps = Caps()
    fleet: Caps = Caps()
    window_s: float = 86400.0

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> BudgetPlan:
        """What the gateway's child spec says."""
        caps = {n: Caps.from_wire(data.get(n) or {}) for n in ("task", "agent", "fleet")}
        return cls(**caps, window_s=data.get("window_s", cls.window_s))


class OverBudget(Exception):
    """A request may not pass. The text tells the user which budget is used up."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Payer:
    """A task in which another was given away: what is spent on that one counts for it, too."""

    task_id: str
    caps: Caps | None = None


@dataclass(frozen=True)
class Account:
    """On whose account a request goes; `above` pay, too."""

    agent_id: str
    task_id: str | None = None
    task_caps: Caps | None = None
    above: tuple[Payer, ...] = ()

    @property
    def payers(self) -> tuple[Payer, ...]:
        """All tasks that pay, the one that is worked on first."""
        own = (Payer(self.task_id, self.task_caps),) if self.task_id is not None else ()
        return own + self.above


@dataclass
class _Purse:
    spent: Spent = field(default_factory=Spent)
    # The most that requests on their way may cost, by their number.
    reserved: dict[int, Spent] = field(default_factory=dict[int, Spent])

    @property
    def at_most(self) -> Spent:
        total = self.spent
        for each in self.reserved.values():
            total += each
        return total


class Budget:
    """Sums by task, agent and fleet, and what may still pass."""

    def __init__(self, plan: BudgetPlan) -> None:
        self._plan = plan
        self._fleet = _Purse()
        self._agents: dict[str, _Purse] = {}
        self._tasks: dict[str, _Purse] = {}
        self._recent: deque[tuple[float, str, Spent]] = deque()
        # Before the first answer there is no knowing: one goes alone where time is limited.
        self._longest_s = math.inf

    @property
    def caps_dollars(self) -> bool:
        """Whether any cap of the configuration is in dollars."""
        plan = self._plan
        return any(c.dollars is not None for c in (plan.task, plan.agent, plan.fleet))

    def knows_task(self, task_id: str) -> bool:
        """Whether that task's sum is loaded."""
        return task_id in self._tasks

    def load_task(self, task_id: str, spent: Spent) -> None:
        """What was spent on a task before this gateway ran."""
        self._tasks[task_id] = _Purse(spent)

    def forget_task(self, task_id: str) -> None:
        """That task is not worked on any more."""
        if task_id in self._tasks and not self._tasks[task_id].reserved:
            del self._tasks[task_id]

    def load(self, rows: Iterable[tuple[float, str, Spent]]) -> None:
        """What the fleet has spent within the window, oldest first."""
        for asked_at, agent_id, spent in rows:
            self._count(asked_at, agent_id, spent)

    def check(self, account: Account, now: float) -> None:
        """Whether the account has anything left.

        Raises:
            OverBudget: one of its budgets is used up.
        """
        self._expire(now)
        for scope, name, caps, purse in self._scopes(account):
            reached = caps.first_reached(purse.spent)
            if reached is not None:
                form = _SHOWN[reached]
                spent = form.format(getattr(purse.spent, reached))
                cap = form.format(getattr(caps, reached))
                setting = f"budget.{scope}_{reached}"
                text = f"{MARK}: {name} has used {spent} of {cap} ({setting})"
                raise OverBudget(text + _of_which_cut(purse.spent))

    def has_room(self, account: Account, most: Spent) -> bool:
        """Whether a request that costs so much at most may go beside those on their way.

        With none on its way it may: that is the one request by which a cap may be passed.
        """
        most = self._with_time(most)
        return all(
            not purse.reserved or caps.would_pass(purse.at_most, most)
            for _, _, caps, purse in self._scopes(account)
        )

    def reserve(self, number: int, account: Account, most: Spent) -> None:
        """That request goes, and may cost so much."""
        most = self._with_time(most)
        for _, _, _, purse in self._scopes(account):
            purse.reserved[number] = most

    def release(self, number: int, account: Account) -> None:
        """That request never left."""
        for _, _, _, purse in self._scopes(account):
            purse.reserved.pop(number, None)

    def settle(self, number: int, account: Account, asked_at: float, spent: Spent) -> None:
        """That request is over, and has cost so much."""
        for _, _, _, purse in self._scopes(account):
            purse.reserved.pop(number, None)
        self._count(asked_at, account.agent_id, spent)
        for payer in account.payers:
            if payer.task_id in self._tasks:
                self._tasks[payer.task_id].spent += spent

    def _count(self, asked_at: float, agent_id: str, spent: Spent) -> None:
        if spent.turns and not spent.cut:
            known_s = self._longest_s if math.isfinite(self._longest_s) else 0.0
            self._longest_s = max(known_s, spent.seconds)
        self._recent.append((asked_at, agent_id, spent))
        self._fleet.spent += spent
        self._agent(agent_id).spent += spent

    def _with_time(self, most: Spent) -> Spent:
        return dataclasses.replace(most, seconds=self._longest_s)

    def _expire(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - self._plan.window_s:
            _, agent_id, spent = self._recent.popleft()
            back = _minus(spent)
            self._fleet.spent += back
            self._agent(agent_id).spent += back

    def _agent(self, agent_id: str) -> _Purse:
        return self._agents.setdefault(agent_id, _Purse())

    def _scopes(self, account: Account) -> list[tuple[str, str, Caps, _Purse]]:
        plan, agent_id = self._plan, account.agent_id
        scopes = [
            ("agent", agent_id, plan.agent, self._agent(agent_id)),
            ("fleet", "the fleet", plan.fleet, self._fleet),
        ]
        tasks = [
            ("task", f"task {p.task_id}", p.caps or plan.task, self._purse(p.task_id))
            for p in account.payers
        ]
        return tasks + scopes

    def _purse(self, task_id: str) -> _Purse:
        return self._tasks.setdefault(task_id, _Purse())


def _minus(spent: Spent) -> Spent:
    return Spent(*(-number for number in dataclasses.astuple(spent)))


def _of_which_cut(spent: Spent) -> str:
    if not spent.cut:
        return ""
    return f"; {spent.cut} answers that were cut count as the most they can have cost"
