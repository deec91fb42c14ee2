"""The books: who works on what, what each request may cost, and what it did cost."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ..failure import BUDGET_MARK as MARK
from .budget import Account, Caps, OverBudget, Payer
from .gate import Ask
from .ledger import Most, Spent

if TYPE_CHECKING:
    from collections.abc import Callable

    from .budget import Budget
    from .ledger import Ledger
    from .prices import Prices
    from .usage import Usage

_PRIORITY = 5
_OK = 200
_USUAL_SPEED = (None, "standard")
_USUAL_PLACE = (None, "global")
# The largest context of a model. Who asks for more is refused by the API, and must not be able to
# use up a budget by hanging up before.
_MOST_OUTPUT = 1_000_000
# The root tells who works on what as soon as a gateway is ready.
_TOLD_S = 2.0


class InvalidWants(ValueError):
    """A request says nothing by which it can be booked; the message says where."""


class Wants(msgspec.Struct):
    """What a request to `/v1/messages` asks for, as far as the books need it."""

    model: str | None = None
    stream: bool = False
    max_tokens: int = 0
    speed: str | None = None
    inference_geo: str | None = None

    @classmethod
    def of(cls, body: bytes) -> Wants:
        """Read a body.

        Raises:
            InvalidWants: what a request costs cannot be told from it; the API would refuse it, too.
        """
        try:
            wants = msgspec.json.decode(body, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidWants(str(error)) from None
        wants.max_tokens = min(max(0, wants.max_tokens), _MOST_OUTPUT)
        return wants

    @property
    def priced_as(self) -> str | None:
        """The model by whose price it is paid for; None when that is unknown.

        More speed, or a place of one's own choice, costs more than the table says.
        """
        is_plain = self.speed in _USUAL_SPEED and self.inference_geo in _USUAL_PLACE
        return self.model if is_plain else None

    def __str__(self) -> str:
        more = (("speed", self.speed), ("inference_geo", self.inference_geo))
        return repr(self.model) + "".join(f", {name} {said!r}" for name, said in more if said)


def _caps(data: dict[str, Any]) -> Caps | None:
    caps = data.get("budget")
    return Caps.from_wire(caps) if caps else None


@dataclass(frozen=True)
class Assignment:
    """What an agent works on."""

    task_id: str | None = None
    priority: int = _PRIORITY
    caps: Caps | None = None
    # Who pays, too, from the task's parent upwards.
    above: tuple[Payer, ...] = ()

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Assignment:
        """What an `assign` command or the ledger says."""
        above = tuple(Payer(each["task_id"], _caps(each)) for each in data.get("above") or ())
        return cls(data.get("task_id"), int(data.get("priority") or _PRIORITY), _caps(data), above)

    @property
    def task_ids(self) -> list[str]:
        """All whose budget it touches, its own first."""
        return [t for t in (self.task_id, *(payer.task_id for payer in self.above)) if t]


@dataclass
class Entry:
    """One try of a request, on the books.

    Attributes:
        wants: what it asks for.
        most: that it can cost, by what is known until now.
    """

    ask_id: int
    account: Account
    asked_at: float
    started_s: float
    wants: Wants
    most: Most


class Accounts:
    """Used in the gateway's loop only.

    Args:
        fleet: what this gateway's requests are filed under.
        ledger: where they are written.
        prices: what they cost.
        budget: what may be spent.
        clock: monotonic seconds.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        fleet: str,
        ledger: Ledger,
        prices: Prices,
        budget: Budget,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        window_s: float,
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._prices = prices
        self._budget = budget
        self._clock = clock
        self._wall = wall
        # What an earlier gateway of this fleet left open, it never saw the end of.
        ledger.close_open(fleet, wall())
        budget.load(ledger.each(fleet, wall() - window_s))
        self._assigned = {
            agent_id: Assignment.from_wire(json.loads(text))
            for agent_id, text in ledger.assigned(fleet).items()
        }
        for work in self._assigned.values():
            ledger.note_family(work.task_ids)
        # What these agents work on was told to an earlier gateway, whose last word may be lost.
        self._unsure = {agent_id: asyncio.Event() for agent_id in self._assigned}

    async def be_sure(self, agent_id: str) -> None:
        """Wait until this gateway was told what the agent works on, but for a moment only.

        Nobody tells of an agent whose task is over: what it still asks for is its last task's.
        """
        told = self._unsure.get(agent_id)
        if told is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), _TOLD_S)
        self._unsure.pop(agent_id, None)

    def assign(self, agent_id: str, data: dict[str, Any]) -> None:
        """That agent works on another task now."""
        if told := self._unsure.pop(agent_id, None):
            told.set()
        before = self._assigned.get(agent_id, Assignment())
        now = self._assigned[agent_id] = Assignment.from_wire(data)
        kept = {name: data.get(name) for name in ("task_id", "priority", "budget", "above")}
        self._ledger.note_family(now.task_ids)
        self._ledger.assign(self._fleet, agent_id, json.dumps(kept))
        wanted = {task_id for work in self._assigned.values() for task_id in work.task_ids}
        for task_id in before.task_ids:
            if task_id not in wanted:
                self._budget.forget_task(task_id)

    def ask(self, agent_id: str, wants: Wants, body_bytes: int, until: float) -> Ask:
        """A request of that agent as the gate takes it.

        Raises:
            OverBudget: it has a budget in dollars, and asks for a model without a price.
        """
        work = self._assigned.get(agent_id, Assignment())
        account = Account(agent_id, work.task_id, work.caps, work.above)
        for task_id in work.task_ids:
            self._load_task(task_id)
        # A token has one byte at least, so this is more than it can be.
        most_usd = self._prices.most_usd(
            wants.priced_as, input_tokens=body_bytes, output_tokens=wants.max_tokens
        )
        caps = (work.caps, *(payer.caps for payer in work.above))
        in_dollars = self._budget.caps_dollars or any(c and c.dollars is not None for c in caps)
        if most_usd is None and in_dollars:
            text = f"{MARK}: the price of {wants} is unknown, and the budget is in dollars"
            raise OverBudget(text)
        most = Spent(most_usd or 0.0, body_bytes + wants.max_tokens, 1)
        return Ask(account, work.priority, self._clock(), until, body_bytes, most)

    def begin(self, ask: Ask, wants: Wants) -> Entry:
        """A try is about to leave: from now on it is on the books."""
        account, asked_at = ask.account, self._wall()
        is_priced = self._prices.knows(wants.priced_as)
        most = Most(ask.most.tokens, ask.most.dollars if is_priced else None)
        ask_id = self._ledger.begin(
            self._fleet, account.agent_id, account.task_id, wants.model, asked_at, most
        )
        return Entry(ask_id, account, asked_at, self._clock(), wants, most)

    def note(self, entry: Entry, usage: Usage, status: int | None, state: str) -> Spent:
        """Write down what is known of a try by now; what it counts as.

        Args:
            entry: the try.
            usage: its tokens.
            status: of its answer; None when there was none.
            state: see `Ledger.note`.
        """
        seconds = self._clock() - entry.started_s
        dollars = self._cost_usd(entry, usage) if status == _OK else 0.0
        if usage.model is not None:
            entry.most = self._most_of(entry, usage)
        self._ledger.note(
            entry.ask_id,
            usage,
            status=status,
            seconds=seconds,
            dollars=dollars,
            most=entry.most,
            state=state,
        )
        if state == "cut":
            return _spent(entry.most.dollars, entry.most.tokens, 1, seconds, cut=1)
        return _spent(dollars, usage.tokens, int(status == _OK), seconds)

    def _cost_usd(self, entry: Entry, usage: Usage) -> float | None:
        # A name that was asked for may stand for another; what was asked for has a price then.
        asked = entry.wants.priced_as
        is_known = asked is not None and self._prices.knows(usage.model)
        return self._prices.cost_usd(usage.model if is_known else asked, usage)

    def _most_of(self, entry: Entry, usage: Usage) -> Most:
        """An answer that has begun has told its input; it may write what was asked for."""
        longest = max(usage.output_tokens, entry.wants.max_tokens)
        most = dataclasses.replace(usage, output_tokens=longest)
        return Most(most.tokens, self._cost_usd(entry, most))

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _load_task(self, task_id: str) -> None:
        if not self._budget.knows_task(task_id):
            self._budget.load_task(task_id, self._ledger.of_task(task_id))


def _spent(
    dollars: float | None, tokens: int, turns: int, seconds: float, *, cut: int = 0
) -> Spent:
    return Spent(dollars or 0.0, tokens, turns, seconds, int(dollars is None), 1, cut)
