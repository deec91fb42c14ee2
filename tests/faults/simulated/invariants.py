"""What must hold whatever happens to a supervisor's children; checked command by command."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from understudy.supervision import Restart, Strategy
from understudy.supervision.events import ChildState
from understudy.supervision.signals import (
    AddChild,
    Answer,
    Finished,
    Grant,
    Op,
    Request,
    Spent,
    Start,
    Stop,
    StopChild,
    Tell,
)
from understudy.supervision.strategy import is_uncounted

if TYPE_CHECKING:
    from understudy.supervision import ChildEvent, ChildSpec, ChildStatus, SupervisorSpec
    from understudy.supervision.core import SupervisorCore
    from understudy.supervision.signals import Command, Input

GROUPS = (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)
COMING = (ChildState.WAITING, ChildState.STARTING)
UP = (ChildState.STARTING, ChildState.READY, ChildState.STOPPING)


class Broken(AssertionError):
    """An invariant does not hold."""


def require(holds: bool, what: str) -> None:
    """Fail, saying what is wrong."""
    if not holds:
        raise Broken(what)


class Judge:
    """Looks at everything that goes into a core and comes out of it.

    Args:
        spec: of the supervisor.
        core: that supervises by it.
        live: the live processes, kept by the world: incarnation by child.
    """

    def __init__(self, spec: SupervisorSpec, core: SupervisorCore, live: dict[str, int]) -> None:
        self._spec = spec
        self._core = core
        self._live = live
        self._starts: dict[str, int] = {}
        self._incarnations: dict[str, int] = {}
        self._stopped: set[tuple[str, int]] = set()
        self._spent: dict[str, float] = {}
        self._limits = {c.id: c.budget.limit for c in spec.children if c.budget}
        self._restarts: list[float] = []
        self._open: list[tuple[Op, str]] = []
        self._may: set[tuple[Op, str]] = set()
        self._unsure: set[str] = set()
        self._interfered = False
        self._was_closing = False
        self._closed_at = 0.0
        self._finished = False

    def asked(self, happened: Input, known: set[str]) -> None:
        """Note what is asked; `known` were the children before that."""
        match happened:
            case Request(op, child_id, spec):
                self._open.append((op, child_id))
                self._interfered = self._interfered or op is not Op.DELETE
                self._adopt(spec, known)
                if op is Op.RESTART:
                    # One that failed for good stays known, and may be tried again by hand.
                    self._unsure.add(child_id)
            case AddChild(spec):
                self._interfered = True
                self._adopt(spec, known)
                self._may.add((Op.START_CHILD, spec.id))
            case StopChild(child_id):
                self._interfered = True
                self._may.add((Op.TERMINATE, child_id))
            case _:
                pass

    def _adopt(self, spec: ChildSpec | None, known: set[str]) -> None:
        if spec is None:
            return
        if self._spec.exact:
            # It has its turn later: whether it is new then is not known here.
            self._unsure.add(spec.id)
        elif spec.id not in known:
            self._starts[spec.id] = 0
            self._spent[spec.id] = 0.0
            if spec.budget is not None:
                self._limits[spec.id] = spec.budget.limit

    def money(self, happened: Spent | Grant) -> None:
        """Keep the books, apart from the core's."""
        name = happened.child_id
        if isinstance(happened, Grant):
            self._limits[name] += happened.amount
        elif 0 < happened.incarnation <= self._incarnations.get(name, 0):
            self._spent[name] = self._spent.get(name, 0.0) + happened.amount

    def after(self, commands: list[Command], now: float) -> None:
        """Look at what came out."""
        if self._core.is_closing and not self._was_closing:
            self._closed_at = now
        for command in commands:
            require(not self._finished, f"{command} came after the end")
            match command:
                case Start(spec, incarnation):
                    self._on_start(spec, incarnation)
                case Stop(child_id):
                    self._on_stop(child_id)
                case Answer(op, child_id):
                    self._on_answer(op, child_id)
                case Tell(event) if event.kind == "restarting" and event.delay_s is not None:
                    self._on_restart(event, now)
                case Tell(event) if event.kind == "gave_up" and event.child_id == self._spec.id:
                    self._on_give_up(event)
                case Finished():
                    self._finished = True
                case _:
                    pass
        self._was_closing = self._core.is_closing

    def _on_answer(self, op: Op, child_id: str) -> None:
        if (op, child_id) in self._open:
            self._open.remove((op, child_id))
        else:
            # An exact one answers to `AddChild` and `StopChild`, too, but nobody waits for it.
            may = self._spec.exact and (op, child_id) in self._may
            require(may, f"{op} of {child_id} is answered and was not asked for")

    def _on_start(self, spec: ChildSpec, incarnation: int) -> None:
        name = spec.id
        require(name not in self._live, f"{name} would run twice")
        require(not self._was_closing, f"{name} is started after the end began")
        newest = self._incarnations.get(name, 0)
        require(incarnation > newest, f"{name}: incarnation {incarnation} comes after {newest}")
        self._incarnations[name] = incarnation
        self._starts[name] = self._starts.get(name, 0) + 1
        if spec.restart is Restart.TEMPORARY and name not in self._unsure:
            require(self._starts[name] == 1, f"{name} is temporary and was started again")
        if spec.budget is not None:
            spent, limit = self._spent.get(name, 0.0), self._limits[name]
            pays = spent < limit and spent + spec.budget.start_cost <= limit
            require(pays, f"{name} is started with {spent} of {limit} spent")
        if self._spec.strategy in GROUPS and not self._interfered:
            elders = [s for s in self._elders(name) if s.state in COMING]
            require(not elders, f"{name} is started before its elder {elders}")

    def _elders(self, name: str) -> list[ChildStatus]:
        statuses = self._core.status()
        ids = [status.child_id for status in statuses]
        return statuses[: ids.index(name)] if name in ids else []

    def _on_stop(self, name: str) -> None:
        which = (name, self._incarnations[name])
        require(which not in self._stopped, f"{name} is stopped twice")
        self._stopped.add(which)
        in_order = self._core.is_closing or not (self._interfered or name in self._limits)
        if self._spec.strategy is Strategy.DYNAMIC or not in_order:
            return
        if self._spec.strategy in GROUPS or self._core.is_closing:
            statuses = self._core.status()
            ids = [status.child_id for status in statuses]
            if name not in ids:
                return
            younger = [s for s in statuses[ids.index(name) + 1 :] if s.state in UP]
            require(not younger, f"{name} is stopped before its younger {younger}")

    def _on_restart(self, event: ChildEvent, now: float) -> None:
        reason = event.reason
        is_granted = reason is not None and reason.failure_kind == "budget"
        if is_granted or is_uncounted(reason, self._spec.uncounted_kinds):
            return
        self._restarts.append(now)
        many = self._within(now)
        require(many <= self._spec.intensity, f"{many} restarts were borne")

    def _within(self, now: float) -> int:
        read = math.floor if self._spec.exact else float
        return sum(read(now) - read(then) <= self._spec.period_s for then in self._restarts)

    def _on_give_up(self, event: ChildEvent) -> None:
        is_first = event.reason is not None and "first start" in event.reason.detail
        many = self._within(self._closed_at)
        require(is_first or many >= self._spec.intensity, f"it gave up after {many} restarts")

    def at_rest(self) -> None:
        """Nothing is under way: nobody may wait for what will never come."""
        coming = [s for s in self._core.status() if s.state in (*COMING, ChildState.STOPPING)]
        require(not coming, f"nothing comes any more, but {coming} wait")
        require(not self._open, f"nothing comes any more, but {self._open} have no answer")

    def at_end(self) -> None:
        """It has ended."""
        require(self._finished, "it did not end")
        require(not self._live, f"{self._live} are left")
        require(not self._open, f"{self._open} got no answer")
