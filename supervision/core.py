"""The supervisor without its processes: what happened goes in, what to do comes out.

No clock, no thread and no process in here, so that every rule can be tested as a table and compared
with OTP's supervisor. Time is passed in, chance comes from the `rng` given.

The rules (`decisions.py`) are OTP's, with these additions: a backoff before a restart, exits that
are permanent or do not count, and budgets (`ledger.py`).
With `SupervisorSpec.exact` one thing is done at a time, as in OTP; what comes in meanwhile waits.
Without it, a failed first start is tried again like a failed restart (OTP gives up at once), under
one_for_one restarts of different children do not wait for each other, and requests get in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .budget import check_amount
from .decisions import Decisions
from .errors import DuplicateChild, InvalidSpec, SupervisorStopping, UnknownChild
from .events import ChildEvent, ChildState, ChildStatus
from .ledger import Ledger
from .plan import Plan
from .record import Record, refusal
from .signals import (
    AddChild,
    Answer,
    Begin,
    ChildExited,
    ChildReady,
    Finished,
    Grant,
    Op,
    Renew,
    Request,
    Result,
    Shutdown,
    Spared,
    Spent,
    StopChild,
    Tell,
    Tick,
    TryAgain,
)

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
        self._decisions = Decisions(spec, rng, first_incarnation)
        self._steps = self._decisions.steps
        self._ledger = Ledger(self._decisions)
        self._finished = False

    def handle(self, happened: Input, now: float) -> list[Command]:
        """Take in what happened at `now` (monotonic seconds); do the commands in their order.

        Raises:
            DuplicateChild, InvalidSpec, SupervisorStopping: of `AddChild` and `Request`.
            InvalidSpec: of `Spent` and `Grant`, too.
            UnknownChild: of `StopChild` and `Grant`.
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

    @property
    def is_closing(self) -> bool:
        """Whether it is ending: nothing is started any more."""
        return self._decisions.closing

    def is_running(self, child_id: str) -> bool:
        """Whether that child has a process, as far as is known here."""
        child = self._steps.children.get(child_id)
        return child is not None and child.is_running

    def status(self, now: float | None = None) -> list[ChildStatus]:
        """All children in start order, without `pid`; with the next start, if `now` is given."""
        return self._steps.status(now)

    def restarts_in_window(self, now: float) -> int:
        """How many restarts of its window count at `now`."""
        return self._decisions.restarts_in_window(now)

    # -- inputs -------------------------------------------------------------------------------

    def _take(self, happened: Input) -> None:  # noqa: C901, PLR0912 - a plain table
        match happened:
            case Begin():
                self._steps.plans.append(Plan(starts=list(self._steps.children), is_first=True))
            case ChildReady():
                self._on_ready(happened)
            case ChildExited():
                self._decisions.on_exited(happened)
            case AddChild(spec) if self._spec.exact:
                self._on_request(Request(Op.START_CHILD, spec.id, spec))
            case AddChild(spec):
                self._on_add(spec)
            case StopChild(child_id) if self._spec.exact:
                self._on_request(Request(Op.TERMINATE, child_id))
            case StopChild(child_id):
                self._on_stop(self._steps.children[child_id])
            case Renew(child_id):
                self._steps.renew(child_id, closing=self._decisions.closing)
            case Request():
                self._on_request(happened)
            case Spent() | Grant():
                self._ledger.take(happened)
            case Spared():
                self._on_spared(happened)
            case TryAgain(child_id):
                self._on_try_again(child_id)
            case Shutdown():
                self._decisions.close()
            case Tick():
                pass

    def _check(self, happened: Input) -> None:
        """Refuse at once what its caller has to hear of at once."""
        match happened:
            case Request() if self._decisions.closing:
                raise SupervisorStopping(self._spec.id)
            case Request(spec=spec) if spec is not None:
                self._spec.check_child(spec)
            case AddChild(spec):
                if self._decisions.closing:
                    raise SupervisorStopping(self._spec.id)
                if spec.id in self._steps.children:
                    raise DuplicateChild(self._spec.id, spec.id)
                self._spec.check_child(spec)
            case StopChild(child_id) | Renew(child_id) if child_id not in self._steps.children:
                raise UnknownChild(self._spec.id, child_id, tuple(self._steps.children))
            case Spent(child_id, _, amount):
                check_amount(child_id, "spent", amount)
            case Grant(child_id, amount):
                self._check_grant(child_id, amount)
            case _:
                pass

    def _check_grant(self, child_id: str, amount: float) -> None:
        check_amount(child_id, "grant", amount)
        child = self._steps.children.get(child_id)
        if child is None:
            raise UnknownChild(self._spec.id, child_id, tuple(self._steps.children))
        if child.spec.budget is None:
            detail = "it has no budget that could be added to"
            raise InvalidSpec("no_budget", f"child {child_id}: grant", detail)

    @property
    def _is_busy(self) -> bool:
        """Whether a start or a stop is under way, of which OTP would await the end."""
        on_the_way = (ChildState.STARTING, ChildState.STOPPING)
        moving = any(child.state in on_the_way for child in self._steps.children.values())
        return bool(self._steps.plans) or moving or self._decisions.closing

    def _must_wait(self, happened: Input) -> bool:
        if not self._spec.exact or self._decisions.closing or not self._is_busy:
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

    def _on_spared(self, spared: Spared) -> None:
        child = self._steps.children.get(spared.child_id)
        if child is not None and child.incarnation == spared.incarnation:
            info = {"away_s": spared.away_s, "what": spared.what}
            event = ChildEvent(spared.child_id, "spared", spared.incarnation, info=info)
            self._steps.out.append(Tell(event))

    def _on_add(self, spec: ChildSpec) -> None:
        child = self._steps.children[spec.id] = Record(spec)
        self._decisions.plan_start(child)

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
            self._decisions.try_restart(child)

    def _on_stop(self, child: Record) -> None:
        if self._decisions.closing:
            return
        self._steps.drop_from_plans([child.spec.id])
        if not child.is_running:
            child.is_dry = False
            if child.state is ChildState.WAITING:
                self._decisions.rest(child)
            self._steps.out.extend(child.answers())
            return
        child.unwanted = True
        if child.state is not ChildState.STOPPING:
            self._steps.stop(child)

    def _advance(self) -> None:
        self._steps.advance()
        if self._decisions.closing and not self._steps.plans and not self._finished:
            self._finished = True
            for request in self._steps.inbox.close():
                self._steps.out.append(Answer(request.op, request.child_id, Result.STOPPING))
            self._steps.out.append(Tell(self._decisions.last_word))
            gave_up = self._decisions.last_word.kind == "gave_up"
            self._steps.out.append(Finished(gave_up, by_itself=self._decisions.by_itself))
