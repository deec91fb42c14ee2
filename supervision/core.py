"""The supervisor without its processes: what happened goes in, what to do comes out.

No clock, no thread and no process in here, so that every rule can be tested as a table and compared
with OTP's supervisor. Time is passed in, chance comes from the `rng` given.

The rules are OTP's, with these additions: a backoff before a restart, and exits that are permanent.
With `SupervisorSpec.exact` one thing is done at a time, as in OTP; what comes in meanwhile waits.
Without it, a failed first start is tried again like a failed restart (OTP gives up at once), under
one_for_one restarts of different children do not wait for each other, and requests get in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import DuplicateChild, SupervisorStopping, UnknownChild
from .events import ChildEvent, ChildState, ChildStatus, ExitReason
from .intensity import RestartWindow
from .plan import Plan
from .record import Record, refusal
from .signals import (
    AddChild,
    Answer,
    Begin,
    ChildExited,
    ChildReady,
    Finished,
    Op,
    Renew,
    Request,
    Result,
    Shutdown,
    StopChild,
    Tell,
    Tick,
    TryAgain,
)
from .spec import Restart, Strategy
from .steps import Steps
from .strategy import affected_by, ends_supervisor, wants_restart

if TYPE_CHECKING:
    import random

    from .signals import Command, Input
    from .spec import ChildSpec, SupervisorSpec


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
        self._steps = Steps(spec.children, first_incarnation, self._on_exited)
        self._window = RestartWindow(spec.intensity, spec.period_s)
        self._closing = False
        self._last_word = ChildEvent(spec.id, "stopped", 0)
        self._by_itself = False
        self._finished = False

    def handle(self, happened: Input, now: float) -> list[Command]:
        """Take in what happened at `now` (monotonic seconds); do the commands in their order.

        Raises:
            DuplicateChild, InvalidSpec, SupervisorStopping: of `AddChild` and `Request`.
            UnknownChild: of `StopChild`.
        """
        self._steps.now = now
        self._check(happened)
        if self._must_wait(happened):
            self._steps.inbox.put(happened)
        else:
            self._take(happened)
            self._advance()
        while self._steps.inbox and not self._is_busy:
            self._take(self._steps.inbox.take())
            self._advance()
        out, self._steps.out = self._steps.out, []
        return out

    @property
    def next_wake(self) -> float | None:
        """When a `Tick` is needed next, in monotonic seconds; None: no time is set."""
        steps = self._steps
        return min((p.due for p in steps.plans if p.due > steps.now and not p.stops), default=None)

    @property
    def is_finished(self) -> bool:
        """Whether `Finished` came out."""
        return self._finished

    def is_running(self, child_id: str) -> bool:
        """Whether that child has a process, as far as is known here."""
        child = self._steps.children.get(child_id)
        return child is not None and child.is_running

    def status(self, now: float | None = None) -> list[ChildStatus]:
        """All children in start order, without `pid`; with the next start, if `now` is given."""
        return self._steps.status(now)

    def restarts_in_window(self, now: float) -> int:
        """See `RestartWindow.count`."""
        return self._window.count(now)

    # -- inputs -------------------------------------------------------------------------------

    def _take(self, happened: Input) -> None:  # noqa: C901 - a plain table
        match happened:
            case Begin():
                self._steps.plans.append(Plan(starts=list(self._steps.children), is_first=True))
            case ChildReady():
                self._on_ready(happened)
            case ChildExited():
                self._on_exited(happened)
            case AddChild(spec) if self._spec.exact:
                self._on_request(Request(Op.START_CHILD, spec.id, spec))
            case AddChild(spec):
                self._on_add(spec)
            case StopChild(child_id) if self._spec.exact:
                self._on_request(Request(Op.TERMINATE, child_id))
            case StopChild(child_id):
                self._on_stop(self._steps.children[child_id])
            case Renew(child_id):
                self._steps.renew(child_id, closing=self._closing)
            case Request():
                self._on_request(happened)
            case TryAgain(child_id):
                self._on_try_again(child_id)
            case Shutdown():
                self._close()
            case Tick():
                pass

    def _check(self, happened: Input) -> None:
        """Refuse at once what its caller has to hear of at once."""
        match happened:
            case Request() if self._closing:
                raise SupervisorStopping(self._spec.id)
            case Request(spec=spec) if spec is not None:
                self._spec.check_child(spec)
            case AddChild(spec):
                if self._closing:
                    raise SupervisorStopping(self._spec.id)
                if spec.id in self._steps.children:
                    raise DuplicateChild(self._spec.id, spec.id)
                self._spec.check_child(spec)
            case StopChild(child_id) | Renew(child_id) if child_id not in self._steps.children:
                raise UnknownChild(self._spec.id, child_id, tuple(self._steps.children))
            case _:
                pass

    @property
    def _is_busy(self) -> bool:
        """Whether a start or a stop is under way, of which OTP would await the end."""
        on_the_way = (ChildState.STARTING, ChildState.STOPPING)
        moving = any(child.state in on_the_way for child in self._steps.children.values())
        return bool(self._steps.plans) or moving or self._closing

    def _must_wait(self, happened: Input) -> bool:
        if not self._spec.exact or self._closing or not self._is_busy:
            return False
        match happened:
            case ChildExited(child_id) if child_id in self._steps.children:
                return self._steps.children[child_id].state is ChildState.READY
            case AddChild() | StopChild() | Renew() | Request() | Shutdown():
                return True
            case _:
                return False

    def _on_ready(self, ready: ChildReady) -> None:
        child = self._steps.children.get(ready.child_id)
        if child is None or child.incarnation != ready.incarnation:
            return
        if child.state is ChildState.STARTING:
            child.state = ChildState.READY
            child.ready_at = self._steps.now
            event = ChildEvent(ready.child_id, "ready", ready.incarnation, info=ready.info)
            self._steps.out.append(Tell(event))
            self._steps.out.extend(child.answers())

    def _on_exited(self, exited: ChildExited) -> None:
        child = self._steps.children.get(exited.child_id)
        if child is None or child.incarnation != exited.incarnation or not child.is_running:
            return
        reason = child.last_reason = exited.reason
        self._steps.say(child, "exited")
        was_ours = child.state is ChildState.STOPPING or self._steps.is_to_stop(child)
        failed_start = child.state is ChildState.STARTING
        child.state = ChildState.WAITING
        if self._closing or child.unwanted:
            self._rest(child)
        elif child.renewed and not self._steps.is_to_stop(child):
            self._steps.start_anew(child)
        elif failed_start and not was_ours and child.is_asked_to_start:
            self._start_failed(child)
        elif reason.kind == "permanent":
            self._fail(child)
            self._end_with(child)
        elif was_ours:
            self._after_sibling(child)
        elif failed_start and self._spec.exact:
            self._leave_for_later(child)
        elif not wants_restart(child.spec.restart, reason):
            self._rest(child)
            self._end_with(child)
        else:
            self._try_restart(child)

    def _on_add(self, spec: ChildSpec) -> None:
        self._steps.children[spec.id] = Record(spec)
        if self._steps.plans and self._spec.strategy is not Strategy.ONE_FOR_ONE:
            # Its elder siblings are being restarted: its turn comes after theirs.
            self._steps.plans[-1].starts.append(spec.id)
        else:
            self._steps.plans.append(Plan(starts=[spec.id]))

    def _on_request(self, request: Request) -> None:
        child = self._steps.children.get(request.child_id)
        refused = refusal(request.op, child)
        if refused is not None:
            self._steps.out.append(Answer(request.op, request.child_id, refused))
            return
        if child is None and request.spec is not None:
            child = self._steps.children[request.child_id] = Record(request.spec)
        if child is None:
            message = "a request to start a child needs its spec"
            raise ValueError(message)
        child.asked.append(request.op)
        match request.op:
            case Op.TERMINATE:
                self._on_stop(child)
            case Op.RESTART | Op.START_CHILD:
                self._steps.start(child)
            case Op.DELETE:
                del self._steps.children[request.child_id]
                self._steps.out.append(Answer(request.op, request.child_id, Result.OK))

    def _on_try_again(self, child_id: str) -> None:
        child = self._steps.children.get(child_id)
        if child is not None and child.state is ChildState.WAITING:
            self._try_restart(child)

    def _on_stop(self, child: Record) -> None:
        if self._closing:
            return
        self._steps.drop_from_plans([child.spec.id])
        if not child.is_running:
            if child.state is ChildState.WAITING:
                self._rest(child)
            self._steps.out.extend(child.answers())
            return
        child.unwanted = True
        if child.state is not ChildState.STOPPING:
            self._steps.stop(child)

    # -- decisions ----------------------------------------------------------------------------

    def _try_restart(self, child: Record) -> None:
        if self._window.add(self._steps.now):
            self._restart(child)
        else:
            self._fail(child)
            self._give_up(
                child,
                f"more than {self._spec.intensity} restarts within {self._spec.period_s:g} s; "
                f"the last to fall was {child.spec.id}",
            )

    def _leave_for_later(self, child: Record) -> None:
        """As in OTP: what came in meanwhile has its turn before the next try; its siblings rest."""
        plans, self._steps.plans = self._steps.plans, []
        for sibling in (self._steps.children[i] for plan in plans for i in plan.starts):
            if sibling is not child and sibling.state is ChildState.WAITING:
                sibling.state = ChildState.STOPPED
        if any(plan.is_first for plan in plans):
            self._fail(child)
            self._give_up(child, f"{child.spec.id} failed in its first start")
        else:
            self._steps.say(child, "restarting")
            self._steps.inbox.put(TryAgain(child.spec.id))

    def _start_failed(self, child: Record) -> None:
        """A start that was asked for is not tried again."""
        is_new = Op.START_CHILD in child.asked
        if child.last_reason and child.last_reason.kind == "permanent":
            self._fail(child)
        else:
            self._rest(child)
        if is_new:
            self._steps.children.pop(child.spec.id, None)

    def _end_with(self, child: Record) -> None:
        """End the supervisor, if the end of this child is to be its own."""
        others = (c for c in self._steps.children.values() if c is not child and c.spec.significant)
        others_live = any(not c.is_down for c in others)
        if ends_supervisor(
            self._spec.auto_shutdown, significant=child.spec.significant, others_live=others_live
        ):
            detail = f"its significant child {child.spec.id} has ended"
            reason = ExitReason("shutdown", detail=detail)
            self._last_word = ChildEvent(self._spec.id, "stopped", 0, reason)
            self._by_itself = True
            self._close()

    def _restart(self, fallen: Record) -> None:
        """Plan the restart of a fallen child and of those that go with it: one restart."""
        delay_s = self._delay_s(fallen)
        ids = affected_by(self._spec.strategy, list(self._steps.children), fallen.spec.id)
        self._steps.drop_from_plans(ids)
        affected = [self._steps.children[child_id] for child_id in ids]
        starts = [c for c in affected if self._can_start(c)]
        stops = [c.spec.id for c in reversed(affected) if c.is_running]
        for child in starts:
            if child.state is ChildState.STOPPED:
                # As in OTP: siblings that had ended as wished are started again with the others.
                child.state = ChildState.WAITING
        self._steps.say(fallen, "restarting", delay_s)
        self._steps.plans.append(
            Plan(stops, [c.spec.id for c in starts], self._steps.now + delay_s)
        )

    @staticmethod
    def _can_start(child: Record) -> bool:
        lasting = child.spec.restart is not Restart.TEMPORARY
        return lasting and child.state is not ChildState.FAILED and not child.unwanted

    def _delay_s(self, child: Record) -> float:
        backoff = child.spec.backoff
        if backoff is None:
            return 0.0
        if child.ready_at is not None and self._steps.now - child.ready_at >= backoff.calm_s:
            child.failures = 0
        child.failures += 1
        return backoff.delay_s(child.failures - 1, self._rng)

    def _after_sibling(self, child: Record) -> None:
        """It was ended because of a sibling, or died before its turn: no restart of its own."""
        if child.spec.restart is Restart.TEMPORARY:
            self._rest(child)
        else:
            self._steps.say(child, "restarting")

    def _rest(self, child: Record) -> None:
        """It is down as wished and stays down."""
        child.state = ChildState.STOPPED
        child.unwanted = False
        self._steps.drop_from_plans([child.spec.id])
        self._steps.say(child, "stopped")
        self._steps.out.extend(child.answers())
        if child.spec.restart is Restart.TEMPORARY or self._spec.strategy is Strategy.DYNAMIC:
            del self._steps.children[child.spec.id]

    def _fail(self, child: Record) -> None:
        child.state = ChildState.FAILED
        self._steps.drop_from_plans([child.spec.id])
        self._steps.say(child, "gave_up")
        self._steps.out.extend(child.answers())

    def _give_up(self, culprit: Record, detail: str) -> None:
        if culprit.last_reason and culprit.last_reason.detail:
            detail += f": {culprit.last_reason.detail}"
        # As in OTP a supervisor that gives up ends with reason `shutdown`.
        reason = ExitReason("shutdown", detail=detail)
        self._last_word = ChildEvent(self._spec.id, "gave_up", 0, reason)
        self._by_itself = True
        self._close()

    def _close(self) -> None:
        if self._closing:
            return
        self._closing = True
        for child in list(self._steps.children.values()):
            if child.state is ChildState.WAITING:
                self._rest(child)
        running = [c for c in self._steps.children.values() if c.is_running][::-1]
        self._steps.plans = [Plan(stops=[c.spec.id for c in running])]
        if self._spec.strategy is Strategy.DYNAMIC:
            for child in running:
                self._steps.stop(child)

    def _advance(self) -> None:
        self._steps.advance()
        if self._closing and not self._steps.plans and not self._finished:
            self._finished = True
            for request in self._steps.inbox.close():
                self._steps.out.append(Answer(request.op, request.child_id, Result.STOPPING))
            self._steps.out.append(Tell(self._last_word))
            gave_up = self._last_word.kind == "gave_up"
            self._steps.out.append(Finished(gave_up, by_itself=self._by_itself))
