"""Fault schedules by chance: a supervisor, the processes of its children, and what befalls them.

Reports of processes come late, twice, after their time, and between each other's; those of one
process come in their order, as over its socket.
"""

# ruff: noqa: S311 - chance for tests, guards nothing

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from faults.simulated.invariants import Broken, Judge, require
from faults.simulated.trees import NAMES, Forest

from understudy.supervision import DuplicateChild, ExitReason, InvalidSpec, Op, UnknownChild
from understudy.supervision.core import SupervisorCore
from understudy.supervision.errors import SupervisorStopping
from understudy.supervision.signals import (
    AddChild,
    Begin,
    ChildExited,
    ChildReady,
    Grant,
    Request,
    Shutdown,
    Spared,
    Spent,
    Start,
    Stop,
    StopChild,
    Tick,
)

if TYPE_CHECKING:
    from understudy.supervision.signals import Command, Input

LIMIT = 400
REFUSED = (DuplicateChild, InvalidSpec, SupervisorStopping, UnknownChild)
STOPPED = ExitReason("shutdown", 0)
START_REASONS = (
    ExitReason("crash", 1),
    ExitReason("crash", 1),
    ExitReason("start_timeout", None, 9),
    ExitReason("permanent", 70, failure_kind="config"),
)
REASONS = (
    ExitReason("crash", 1),
    ExitReason("crash", 1),
    ExitReason("killed", None, 9),
    ExitReason("hung", None, 6),
    ExitReason("normal", 0),
    ExitReason("shutdown", 0),
    ExitReason("crash", 1, failure_kind="rate_limited"),
    ExitReason("crash", 1, failure_kind="auth"),
    ExitReason("permanent", 70, failure_kind="image"),
    ExitReason("unknown"),
)
OPS = (Op.TERMINATE, Op.RESTART, Op.DELETE, Op.START_CHILD)


class Schedule:
    """One schedule; `play` raises what `Broken` says.

    Args:
        seed: it is always the same for the same seed.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._forest = Forest(self._rng)
        self.spec = self._forest.supervisor()
        self._core = SupervisorCore(self.spec, self._rng)
        self._live: dict[str, int] = {}
        self._unready: set[str] = set()
        self._asked: set[str] = set()
        self._reports: list[Input] = []
        self._old: list[Input] = []
        self._now = 100.0
        self._judge = Judge(self.spec, self._core, self._live)
        self.trace: list[tuple[float, Input, list[Command]]] = []
        self._faults = (
            *(self._report,) * 6,
            *(self._process_moves,) * 6,
            *(self._child_falls,) * 4,
            *(self._request,) * 2,
            *(self._money,) * 2,
            *(self._time_passes,) * 3,
            self._old_report,
        )

    def play(self) -> None:
        """Play it to its end, a shutdown at any time."""
        rng, faults = self._rng, self._faults
        self._give(Begin())
        for _ in range(4 + int(rng.random() * 24)):
            if self._core.is_finished:
                break
            faults[int(rng.random() * len(faults))]()
        if rng.random() < 0.5:
            self._settle()
            if not self._core.is_closing:
                self._judge.at_rest()
        self._give(Shutdown())
        if rng.random() < 0.3:
            self._request()
        self._settle()
        self._judge.at_end()

    # -- what happens -------------------------------------------------------------------------

    def _report(self) -> None:
        """A report arrives; of one process, the oldest."""
        if not self._reports:
            return
        index = int(self._rng.random() * len(self._reports))
        name = self._reports[index].child_id  # type: ignore[union-attr]
        report = next(r for r in self._reports if r.child_id == name)  # type: ignore[union-attr]
        self._reports.remove(report)
        self._give(report)
        self._old.append(report)

    def _process_moves(self) -> None:
        """One that was asked to end does so; or one that starts is ready, or fails in that."""
        name = self._one_of(self._asked & self._live.keys())
        if name is not None:
            self._ends(name, STOPPED if self._rng.random() < 0.8 else REASONS[2])
            return
        name = self._one_of(self._unready)
        if name is None:
            return
        if self._rng.random() < 0.75:
            self._unready.discard(name)
            self._reports.append(ChildReady(name, self._live[name], {}))
        else:
            self._ends(name, START_REASONS[int(self._rng.random() * len(START_REASONS))])

    def _child_falls(self) -> None:
        name = self._one_of(self._live)
        if name is not None:
            self._ends(name, REASONS[int(self._rng.random() * len(REASONS))])

    def _request(self) -> None:
        name = NAMES[int(self._rng.random() * len(NAMES))]
        chance = self._rng.random()
        if chance < 0.1:
            self._give(StopChild(name))
        elif chance < 0.2:
            self._give(AddChild(self._forest.child(name)))
        else:
            op = OPS[int(self._rng.random() * 4)]
            spec = self._forest.child(name) if op is Op.START_CHILD else None
            self._give(Request(op, name, spec))

    def _money(self) -> None:
        name = self._one_of(self._live) or "a"
        if self._rng.random() < 0.7:
            self._give(Spent(name, self._live.get(name, 1), int(self._rng.random() * 4)))
        else:
            self._give(Grant(NAMES[int(self._rng.random() * 4)], 2))

    def _time_passes(self) -> None:
        wake = self._core.next_wake
        is_due = wake is not None and self._rng.random() < 0.7
        self._now = wake if is_due and wake is not None else self._now + self._rng.random()
        self._give(Tick())

    def _old_report(self) -> None:
        """Something arrives again, or of a process that nobody knows any more: nothing follows."""
        chance = self._rng.random()
        if self._old and chance < 0.5:
            report = self._old[int(self._rng.random() * len(self._old))]
        elif chance < 0.8:
            report = ChildExited(NAMES[int(self._rng.random() * 4)], 0, REASONS[0])
        else:
            report = Spared("nobody", 1, 1.0, "a report")
        # An exact one that is ending may not have come to the first of two equal reports yet.
        may_be_first = self.spec.exact and self._core.is_closing
        followed = self._give(report)
        require(may_be_first or not followed, f"{report} is old, and something follows")

    # -- the world ----------------------------------------------------------------------------

    def _ends(self, name: str, reason: ExitReason) -> None:
        self._unready.discard(name)
        self._asked.discard(name)
        self._reports.append(ChildExited(name, self._live.pop(name), reason))

    def _one_of(self, names: set[str] | dict[str, int]) -> str | None:
        # In an order of its own: that of a set changes from run to run.
        return sorted(names)[int(self._rng.random() * len(names))] if names else None

    def _give(self, happened: Input) -> list[Command]:
        known = {status.child_id for status in self._core.status()}
        try:
            commands = self._core.handle(happened, self._now)
        except REFUSED:
            return []
        self.trace.append((self._now, happened, commands))
        if isinstance(happened, Spent | Grant):
            self._judge.money(happened)
        else:
            self._judge.asked(happened, known)
        self._judge.after(commands, self._now)
        for command in commands:
            self._do(command)
        return commands

    def _do(self, command: Command) -> None:
        match command:
            case Start(spec, incarnation):
                self._live[spec.id] = incarnation
                self._unready.add(spec.id)
            case Stop(child_id) if child_id in self._live:
                self._asked.add(child_id)
            case _:
                pass

    def _settle(self) -> None:
        """Everything goes well from here on, until nothing is left to do."""
        for _ in range(LIMIT):
            if self._reports:
                self._report()
            elif name := self._one_of(self._asked):
                self._ends(name, STOPPED)
            elif name := self._one_of(self._unready):
                self._unready.discard(name)
                self._reports.append(ChildReady(name, self._live[name], {}))
            elif (wake := self._core.next_wake) is not None:
                self._now = wake
                self._give(Tick())
            else:
                return
        raise Broken("it does not come to rest")
