"""How plans are carried out, one start and one stop after the other. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .events import ChildEvent, ChildState, ChildStatus
from .inbox import Inbox
from .plan import Plan
from .record import Record
from .signals import Start, Stop, Tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .signals import ChildExited, Command
    from .spec import ChildSpec


class Steps:
    """The children of a supervisor, the plans about them, and the commands that come of these.

    Args:
        children: at the start, in start order.
        first_incarnation: the number of each child's first start.
        on_exited: told of an end that was known before the child was to be stopped.

    Attributes:
        children: in start order.
        plans: what is under way.
        inbox: what waits until nothing is.
        out: the commands so far.
        now: monotonic seconds.
    """

    def __init__(
        self,
        children: Iterable[ChildSpec],
        first_incarnation: int,
        on_exited: Callable[[ChildExited], None],
    ) -> None:
        self._first = first_incarnation
        self._on_exited = on_exited
        self._incarnations: dict[str, int] = {}
        self.children = {child.id: Record(child) for child in children}
        self.plans: list[Plan] = []
        self.inbox = Inbox()
        self.out: list[Command] = []
        self.now = 0.0

    def advance(self) -> None:
        """Do what can be done now."""
        for plan in self.plans:
            self._stop_next(plan)
            self._start_next(plan)
        self.plans = [plan for plan in self.plans if not plan.is_done]

    def _stop_next(self, plan: Plan) -> None:
        while plan.stops:
            child_id = plan.stops[0]
            child = self.children.get(child_id)
            if child is not None:
                self.stop(child)
                if child.is_running:
                    return
            if child_id in plan.stops:
                plan.stops.remove(child_id)

    def _start_next(self, plan: Plan) -> None:
        while plan.starts and not plan.stops and plan.due <= self.now:
            child = self.children[plan.starts[0]]
            if child.state is ChildState.WAITING:
                self.start(child)
            if child.state is not ChildState.READY:
                return
            plan.starts.pop(0)

    def start(self, child: Record) -> None:
        """Start its next incarnation."""
        child_id = child.spec.id
        child.restarts += child.incarnation > 0
        child.incarnation = self._incarnations.get(child_id, self._first - 1) + 1
        self._incarnations[child_id] = child.incarnation
        child.state = ChildState.STARTING
        child.ready_at = None
        child.unwanted = child.renewed = child.is_dry = False
        self.out.append(Tell(ChildEvent(child_id, "starting", child.incarnation)))
        self.out.append(Start(child.spec, child.incarnation))

    def stop(self, child: Record) -> None:
        """End it, if it runs and is not being ended."""
        if not child.is_running or child.state is ChildState.STOPPING:
            return
        child.state = ChildState.STOPPING
        early = self.inbox.take_exit(child.spec.id, child.incarnation)
        if early is not None:
            self._on_exited(early)
        else:
            self.out.append(Stop(child.spec.id, child.spec.shutdown_s))

    def renew(self, child_id: str, *, closing: bool) -> None:
        """Have it end, if it runs, and start again."""
        child = self.children[child_id]
        if closing or child.unwanted or not child.account.pays_for_start:
            return
        if not child.is_running:
            self.start_anew(child)
            return
        child.renewed = True
        self.stop(child)

    def start_anew(self, child: Record) -> None:
        """It was asked for: no restart is counted, and earlier failures are forgotten."""
        child.failures = 0
        child.state = ChildState.WAITING
        self.drop_from_plans([child.spec.id])
        self.say(child, "restarting", 0.0)
        self.plans.append(Plan(starts=[child.spec.id], due=self.now))

    def status(self, now: float | None) -> list[ChildStatus]:
        """All children in start order; with the seconds to the next start, if `now` is given."""
        due = {i: p.due for p in self.plans for i in p.starts if not p.stops}

        def left_s(child: Record) -> float | None:
            if now is None or child.state is not ChildState.WAITING or child.spec.id not in due:
                return None
            return max(0.0, due[child.spec.id] - now)

        return [child.status(left_s(child)) for child in self.children.values()]

    def is_to_stop(self, child: Record) -> bool:
        """Whether a plan is going to end it."""
        return any(child.spec.id in plan.stops for plan in self.plans)

    def drop_from_plans(self, child_ids: Iterable[str]) -> None:
        """Leave these children to somebody else."""
        ids = list(child_ids)
        for plan in self.plans:
            plan.drop(ids)

    def say(
        self,
        child: Record,
        kind: Literal["exited", "restarting", "gave_up", "stopped"],
        delay_s: float | None = None,
    ) -> None:
        """Tell what became of it."""
        reason = child.last_reason
        event = ChildEvent(child.spec.id, kind, child.incarnation, reason, delay_s)
        self.out.append(Tell(event))
