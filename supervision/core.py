"""The supervisor without its processes: what happened goes in, what to do comes out.

No clock, no thread and no process in here, so that every rule can be tested as a table and compared
with OTP's supervisor. Time is passed in, chance comes from the `rng` given.

The rules are OTP's, with these additions: a backoff before a restart, exits that are permanent, a
failed first start that is tried again like a failed restart (OTP gives up at once), and, under
one_for_one, restarts of different children that do not wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import DuplicateChild, SupervisorStopping, UnknownChild
from .events import ChildEvent, ChildState, ChildStatus, ExitReason
from .intensity import RestartWindow
from .plan import Plan
from .signals import (
    AddChild,
    Begin,
    ChildExited,
    ChildReady,
    Finished,
    Shutdown,
    Start,
    Stop,
    StopChild,
    Tell,
    Tick,
)
from .spec import Restart, Strategy
from .strategy import affected_by, wants_restart

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from .signals import Command, Input
    from .spec import ChildSpec, SupervisorSpec

_RUNNING = (ChildState.STARTING, ChildState.READY, ChildState.STOPPING)


@dataclass
class _Child:
    spec: ChildSpec
    state: ChildState = ChildState.WAITING
    incarnation: int = 0
    restarts: int = 0
    failures: int = 0
    ready_at: float | None = None
    unwanted: bool = False
    last_reason: ExitReason | None = None


class SupervisorCore:
    """One supervisor's decisions. Not thread-safe: one caller at a time.

    Args:
        spec: what to supervise.
        rng: for the jitter of the backoff.
        first_incarnation: the number of each child's first start; it goes up from there and is
            never used again, also when a child is removed and added.
    """

    def __init__(
        self, spec: SupervisorSpec, rng: random.Random, *, first_incarnation: int = 1
    ) -> None:
        self._spec = spec
        self._rng = rng
        self._first = first_incarnation
        self._incarnations: dict[str, int] = {}
        self._children = {child.id: _Child(child) for child in spec.children}
        self._window = RestartWindow(spec.intensity, spec.period_s)
        self._plans: list[Plan] = []
        self._closing = False
        self._gave_up: ChildEvent | None = None
        self._finished = False
        self._now = 0.0
        self._out: list[Command] = []

    def handle(self, happened: Input, now: float) -> list[Command]:
        """Take in what happened at `now` (monotonic seconds); do the commands in their order.

        Raises:
            DuplicateChild, SupervisorStopping: of `AddChild`.
            UnknownChild: of `StopChild`.
        """
        self._now = now
        match happened:
            case Begin():
                self._plans.append(Plan(starts=list(self._children)))
            case ChildReady():
                self._on_ready(happened)
            case ChildExited():
                self._on_exited(happened)
            case AddChild(spec):
                self._on_add(spec)
            case StopChild(child_id):
                self._on_stop(self._child(child_id))
            case Shutdown():
                self._close()
            case Tick():
                pass
        self._advance()
        out, self._out = self._out, []
        return out

    @property
    def next_wake(self) -> float | None:
        """When a `Tick` is needed next, in monotonic seconds; None: no time is set."""
        return min((p.due for p in self._plans if p.due > self._now and not p.stops), default=None)

    @property
    def is_finished(self) -> bool:
        """Whether `Finished` came out."""
        return self._finished

    def is_running(self, child_id: str) -> bool:
        """Whether that child has a process, as far as is known here."""
        child = self._children.get(child_id)
        return child is not None and child.state in _RUNNING

    def status(self) -> list[ChildStatus]:
        """All children in start order; `pid` is not known here."""
        return [
            ChildStatus(
                child_id, child.state, child.incarnation, child.restarts, None, child.last_reason
            )
            for child_id, child in self._children.items()
        ]

    # -- inputs -------------------------------------------------------------------------------

    def _on_ready(self, ready: ChildReady) -> None:
        child = self._children.get(ready.child_id)
        if child is None or child.incarnation != ready.incarnation:
            return
        if child.state is ChildState.STARTING:
            child.state = ChildState.READY
            child.ready_at = self._now
            event = ChildEvent(ready.child_id, "ready", ready.incarnation, info=ready.info)
            self._out.append(Tell(event))

    def _on_exited(self, exited: ChildExited) -> None:
        child = self._children.get(exited.child_id)
        if child is None or child.incarnation != exited.incarnation or child.state not in _RUNNING:
            return
        reason = child.last_reason = exited.reason
        self._say(child, "exited")
        was_ours = child.state is ChildState.STOPPING or self._is_to_stop(child)
        child.state = ChildState.WAITING
        if self._closing or child.unwanted:
            self._rest(child)
        elif reason.kind == "permanent":
            self._fail(child)
        elif was_ours:
            self._after_sibling(child)
        elif not wants_restart(child.spec.restart, reason):
            self._rest(child)
        elif self._window.add(self._now):
            self._restart(child)
        else:
            self._fail(child)
            self._give_up(child)

    def _on_add(self, spec: ChildSpec) -> None:
        if self._closing:
            raise SupervisorStopping(self._spec.id)
        if spec.id in self._children:
            raise DuplicateChild(self._spec.id, spec.id)
        self._children[spec.id] = _Child(spec)
        if self._plans and self._spec.strategy is not Strategy.ONE_FOR_ONE:
            # Its elder siblings are being restarted: its turn comes after theirs.
            self._plans[-1].starts.append(spec.id)
        else:
            self._plans.append(Plan(starts=[spec.id]))

    def _on_stop(self, child: _Child) -> None:
        if self._closing:
            return
        self._drop_from_plans([child.spec.id])
        if child.state not in _RUNNING:
            if child.state is ChildState.WAITING:
                self._rest(child)
            return
        child.unwanted = True
        if child.state is not ChildState.STOPPING:
            self._stop(child)

    # -- decisions ----------------------------------------------------------------------------

    def _restart(self, fallen: _Child) -> None:
        """Plan the restart of a fallen child and of those that go with it: one restart."""
        delay_s = self._delay_s(fallen)
        ids = affected_by(self._spec.strategy, list(self._children), fallen.spec.id)
        self._drop_from_plans(ids)
        affected = [self._children[child_id] for child_id in ids]
        starts = [c for c in affected if self._can_start(c)]
        stops = [c.spec.id for c in reversed(affected) if c.state in _RUNNING]
        for child in starts:
            if child.state is ChildState.STOPPED:
                # As in OTP: siblings that had ended as wished are started again with the others.
                child.state = ChildState.WAITING
        self._say(fallen, "restarting", delay_s)
        self._plans.append(Plan(stops, [c.spec.id for c in starts], self._now + delay_s))

    @staticmethod
    def _can_start(child: _Child) -> bool:
        lasting = child.spec.restart is not Restart.TEMPORARY
        return lasting and child.state is not ChildState.FAILED and not child.unwanted

    def _delay_s(self, child: _Child) -> float:
        backoff = child.spec.backoff
        if backoff is None:
            return 0.0
        if child.ready_at is not None and self._now - child.ready_at >= backoff.calm_s:
            child.failures = 0
        child.failures += 1
        return backoff.delay_s(child.failures - 1, self._rng)

    def _after_sibling(self, child: _Child) -> None:
        """It was ended because of a sibling, or died before its turn: no restart of its own."""
        if child.spec.restart is Restart.TEMPORARY:
            self._rest(child)
        else:
            self._say(child, "restarting")

    def _rest(self, child: _Child) -> None:
        """It is down as wished and stays down."""
        child.state = ChildState.STOPPED
        child.unwanted = False
        self._drop_from_plans([child.spec.id])
        self._say(child, "stopped")
        if child.spec.restart is Restart.TEMPORARY:
            del self._children[child.spec.id]

    def _fail(self, child: _Child) -> None:
        child.state = ChildState.FAILED
        self._drop_from_plans([child.spec.id])
        self._say(child, "gave_up")

    def _give_up(self, culprit: _Child) -> None:
        detail = (
            f"more than {self._spec.intensity} restarts within {self._spec.period_s:g} s; "
            f"the last to fall was {culprit.spec.id}"
        )
        if culprit.last_reason and culprit.last_reason.detail:
            detail += f": {culprit.last_reason.detail}"
        # As in OTP a supervisor that gives up ends with reason `shutdown`.
        reason = ExitReason("shutdown", detail=detail)
        self._gave_up = ChildEvent(self._spec.id, "gave_up", 0, reason)
        self._close()

    def _close(self) -> None:
        if self._closing:
            return
        self._closing = True
        for child in list(self._children.values()):
            if child.state is ChildState.WAITING:
                self._rest(child)
        running = [c.spec.id for c in self._children.values() if c.state in _RUNNING]
        self._plans = [Plan(stops=running[::-1])]

    # -- steps --------------------------------------------------------------------------------

    def _advance(self) -> None:
        for plan in self._plans:
            self._stop_next(plan)
            self._start_next(plan)
        self._plans = [plan for plan in self._plans if not plan.is_done]
        if self._closing and not self._plans and not self._finished:
            self._finished = True
            self._out.append(Tell(self._gave_up or ChildEvent(self._spec.id, "stopped", 0)))
            self._out.append(Finished(gave_up=self._gave_up is not None))

    def _stop_next(self, plan: Plan) -> None:
        while plan.stops:
            child = self._children.get(plan.stops[0])
            if child is not None and child.state in _RUNNING:
                if child.state is not ChildState.STOPPING:
                    self._stop(child)
                return
            plan.stops.pop(0)

    def _start_next(self, plan: Plan) -> None:
        while plan.starts and not plan.stops and plan.due <= self._now:
            child = self._children[plan.starts[0]]
            if child.state is ChildState.WAITING:
                self._start(child)
            if child.state is not ChildState.READY:
                return
            plan.starts.pop(0)

    def _start(self, child: _Child) -> None:
        child_id = child.spec.id
        child.restarts += child.incarnation > 0
        child.incarnation = self._incarnations.get(child_id, self._first - 1) + 1
        self._incarnations[child_id] = child.incarnation
        child.state = ChildState.STARTING
        child.ready_at = None
        child.unwanted = False
        self._out.append(Tell(ChildEvent(child_id, "starting", child.incarnation)))
        self._out.append(Start(child.spec, child.incarnation))

    def _stop(self, child: _Child) -> None:
        child.state = ChildState.STOPPING
        self._out.append(Stop(child.spec.id, child.spec.shutdown_s))

    # -- small things -------------------------------------------------------------------------

    def _child(self, child_id: str) -> _Child:
        if child_id not in self._children:
            raise UnknownChild(self._spec.id, child_id, tuple(self._children))
        return self._children[child_id]

    def _is_to_stop(self, child: _Child) -> bool:
        return any(child.spec.id in plan.stops for plan in self._plans)

    def _drop_from_plans(self, child_ids: Iterable[str]) -> None:
        ids = list(child_ids)
        for plan in self._plans:
            plan.drop(ids)

    def _say(
        self,
        child: _Child,
        kind: Literal["exited", "restarting", "gave_up", "stopped"],
        delay_s: float | None = None,
    ) -> None:
        reason = child.last_reason
        event = ChildEvent(child.spec.id, kind, child.incarnation, reason, delay_s)
        self._out.append(Tell(event))
