"""What becomes of a child that ended, and of its siblings with it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .events import ChildEvent, ChildState, ExitReason
from .intensity import RestartWindow
from .plan import Plan
from .signals import Op, TryAgain
from .spec import Restart, Strategy
from .steps import Steps
from .strategy import affected_by, ends_supervisor, is_uncounted, wants_restart, with_verdict

if TYPE_CHECKING:
    import random

    from .record import Record
    from .signals import ChildExited
    from .spec import SupervisorSpec


class Decisions:
    """The restart rules, carried out on the `steps` of one supervisor.

    Attributes:
        steps: the children and what is under way.
        closing: the supervisor is ending; nothing is started any more.
        last_word: what is told of the supervisor itself at its end.
        by_itself: nobody asked it to end.
    """

    def __init__(self, spec: SupervisorSpec, rng: random.Random, first_incarnation: int) -> None:
        self._spec = spec
        self._rng = rng
        self._window = RestartWindow(spec.intensity, spec.period_s, whole_seconds=spec.exact)
        self.steps = Steps(spec.children, first_incarnation, self.on_exited)
        self.closing = False
        self.last_word = ChildEvent(spec.id, "stopped", 0)
        self.by_itself = False

    def on_exited(self, exited: ChildExited) -> None:
        """Decide about a child that ended; one of an older incarnation is nobody."""
        child = self.steps.children.get(exited.child_id)
        if child is None or child.incarnation != exited.incarnation or not child.is_running:
            return
        child.last_reason = with_verdict(exited.reason, self._spec.permanent_kinds)
        if child.is_dry and child.last_reason.kind != "permanent":
            child.last_reason = _dry(child, exited.reason)
        self.steps.say(child, "exited")
        self._decide(child, child.last_reason)

    def _decide(self, child: Record, reason: ExitReason) -> None:
        was_ours = child.state is ChildState.STOPPING or self.steps.is_to_stop(child)
        failed_start = child.state is ChildState.STARTING
        child.state = ChildState.WAITING
        if self.closing or child.unwanted:
            self.rest(child)
        elif child.renewed and not self.steps.is_to_stop(child):
            self.steps.start_anew(child)
        elif failed_start and not was_ours and child.is_asked_to_start:
            self._start_failed(child)
        elif reason.kind == "permanent":
            self._fail(child)
            self._end_with(child)
        elif child.is_dry:
            self.run_dry(child)
        elif was_ours:
            self._after_sibling(child)
        elif failed_start and self._spec.exact:
            self._leave_for_later(child)
        elif not wants_restart(child.spec.restart, reason):
            self.rest(child)
            self._end_with(child)
        else:
            self.try_restart(child)

    def restarts_in_window(self, now: float) -> int:
        """See `RestartWindow.count`."""
        return self._window.count(now)

    def try_restart(self, child: Record) -> None:
        """Restart it and those that go with it, unless that cannot be paid or was too often."""
        reason = child.last_reason
        if not child.account.pays_for_start:
            self.run_dry(child)
        elif is_uncounted(reason, self._spec.uncounted_kinds) or self._window.add(self.steps.now):
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
        plans, self.steps.plans = self.steps.plans, []
        for sibling in (self.steps.children[i] for plan in plans for i in plan.starts):
            if sibling is not child and sibling.state is ChildState.WAITING:
                sibling.state = ChildState.STOPPED
        if any(plan.is_first for plan in plans):
            self._fail(child)
            self._give_up(child, f"{child.spec.id} failed in its first start")
        else:
            self.steps.say(child, "restarting")
            self.steps.inbox.put(TryAgain(child.spec.id))

    def _start_failed(self, child: Record) -> None:
        """A start that was asked for is not tried again."""
        is_new = Op.START_CHILD in child.asked
        if child.last_reason and child.last_reason.kind == "permanent":
            self._fail(child)
        else:
            self.rest(child)
        if is_new:
            self.steps.children.pop(child.spec.id, None)

    def _end_with(self, child: Record) -> None:
        """End the supervisor, if the end of this child is to be its own."""
        others = (c for c in self.steps.children.values() if c is not child and c.spec.significant)
        others_live = any(not c.is_down for c in others)
        if ends_supervisor(
            self._spec.auto_shutdown, significant=child.spec.significant, others_live=others_live
        ):
            detail = f"its significant child {child.spec.id} has ended"
            reason = ExitReason("shutdown", detail=detail)
            self.last_word = ChildEvent(self._spec.id, "stopped", 0, reason)
            self.by_itself = True
            self.close()

    def _restart(self, fallen: Record) -> None:
        """Plan the restart of a fallen child and of those that go with it: one restart."""
        delay_s = self._delay_s(fallen)
        ids = affected_by(self._spec.strategy, list(self.steps.children), fallen.spec.id)
        self.steps.drop_from_plans(ids)
        affected = [self.steps.children[child_id] for child_id in ids]
        starts = [c for c in affected if c.can_start]
        stops = [c.spec.id for c in reversed(affected) if c.is_running]
        for child in starts:
            if child.state is ChildState.STOPPED:
                # As in OTP: siblings that had ended as wished are started again with the others.
                child.state = ChildState.WAITING
        self.steps.say(fallen, "restarting", delay_s)
        self.steps.plans.append(Plan(stops, [c.spec.id for c in starts], self.steps.now + delay_s))

    def _delay_s(self, child: Record) -> float:
        backoff = child.spec.backoff
        if backoff is None:
            return 0.0
        if child.ready_at is not None and self.steps.now - child.ready_at >= backoff.calm_s:
            child.failures = 0
        child.failures += 1
        return backoff.delay_s(child.failures - 1, self._rng)

    def _after_sibling(self, child: Record) -> None:
        """It was ended because of a sibling, or died before its turn: no restart of its own."""
        if child.spec.restart is Restart.TEMPORARY:
            self.rest(child)
        elif not child.account.pays_for_start:
            self.run_dry(child)
        else:
            self.steps.say(child, "restarting")

    def run_dry(self, child: Record) -> None:
        """It cannot pay for another start: it rests until it is granted more."""
        if child.account.pays_for_start and child.spec.restart is not Restart.TEMPORARY:
            # It was granted more while it ended.
            child.is_dry = False
            self.steps.say(child, "restarting", 0.0)
            self.plan_start(child)
            return
        child.last_reason = _dry(child, child.last_reason)
        self.rest(child, forget=child.spec.restart is Restart.TEMPORARY)
        child.is_dry = True

    def plan_start(self, child: Record) -> None:
        """Start it when its elder siblings, if these are being restarted, are up."""
        child.state = ChildState.WAITING
        child_id = child.spec.id
        self.steps.drop_from_plans([child_id])
        plans = self.steps.plans
        if not plans or self._spec.strategy is Strategy.ONE_FOR_ONE:
            plans.append(Plan(starts=[child_id]))
            return
        order = list(self.steps.children)
        plans[-1].starts = sorted([*plans[-1].starts, child_id], key=order.index)

    def rest(self, child: Record, *, forget: bool | None = None) -> None:
        """It is down as wished and stays down; one that cannot come back is forgotten."""
        child.state = ChildState.STOPPED
        child.unwanted = child.is_dry = False
        self.steps.drop_from_plans([child.spec.id])
        self.steps.say(child, "stopped")
        self.steps.out.extend(child.answers())
        if forget is None:
            is_dynamic = self._spec.strategy is Strategy.DYNAMIC
            forget = is_dynamic or child.spec.restart is Restart.TEMPORARY
        if forget:
            del self.steps.children[child.spec.id]

    def _fail(self, child: Record) -> None:
        child.state = ChildState.FAILED
        self.steps.drop_from_plans([child.spec.id])
        self.steps.say(child, "gave_up")
        self.steps.out.extend(child.answers())

    def _give_up(self, culprit: Record, detail: str) -> None:
        if culprit.last_reason and culprit.last_reason.detail:
            detail += f": {culprit.last_reason.detail}"
        # As in OTP a supervisor that gives up ends with reason `shutdown`.
        reason = ExitReason("shutdown", detail=detail)
        self.last_word = ChildEvent(self._spec.id, "gave_up", 0, reason)
        self.by_itself = True
        self.close()

    def close(self) -> None:
        """End all children, the last started first; start nothing any more."""
        if self.closing:
            return
        self.closing = True
        for child in list(self.steps.children.values()):
            if child.state is ChildState.WAITING:
                self.rest(child)
        running = [c for c in self.steps.children.values() if c.is_running][::-1]
        self.steps.plans = [Plan(stops=[c.spec.id for c in running])]
        if self._spec.strategy is Strategy.DYNAMIC:
            for child in running:
                self.steps.stop(child)


def _dry(child: Record, reason: ExitReason | None) -> ExitReason:
    """Its budget ended it, whatever the way: no failure."""
    seen = reason or ExitReason("shutdown")
    detail = f"its budget is used up: {child.account.describe()}"
    return replace(seen, kind="shutdown", failure_kind="budget", detail=detail)
