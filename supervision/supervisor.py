"""The supervisor as an actor: the core's decisions, made true with processes."""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pykka

from .core import SupervisorCore
from .errors import (
    ForkServerBroken,
    ForkServerClosed,
    SpawnFailed,
    SupervisorStopping,
    UnknownChild,
)
from .events import ChildEvent, ChildStatus, ExitReason, SupervisorStatus, describe
from .process import Process
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
    Start,
    Stop,
    StopChild,
    Tell,
    Tick,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .forkserver import ForkServer
    from .reactor import Timer
    from .signals import Command, Input
    from .spec import ChildSpec, SupervisorSpec

_log = logging.getLogger(__name__)

_WAKE = object()


class Supervisor(pykka.ThreadingActor):
    """Starts its children in order, restarts them by its strategy, ends them in reverse order.

    Everything, also the listener, runs in this actor's thread. Stopping the actor shuts the
    children down first. When the restart budget is exceeded it does the same by itself and stops,
    after a `gave_up` event that carries the supervisor's own id.

    Args:
        spec: its children and its rules.
        forks: where their processes come from; open until this actor has stopped.
        listener: told of every event; must not block, nor ask this actor. An exception is logged.
        rng: for the jitter of the backoff.
        clock: monotonic seconds, for the restart budget and the backoff.
        first_incarnation: the number of each child's first start.
    """

    use_daemon_thread = True

    def __init__(
        self,
        spec: SupervisorSpec,
        forks: ForkServer,
        listener: Callable[[ChildEvent], None] | None = None,
        *,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        first_incarnation: int = 1,
    ) -> None:
        super().__init__()
        self._spec = spec
        self._forks = forks
        self._listener = listener
        self._clock = clock
        chance = rng or random.Random()  # noqa: S311 - spreads restarts, guards nothing
        self._core = SupervisorCore(spec, chance, first_incarnation=first_incarnation)
        self._processes: dict[str, Process] = {}
        # Beside the inbox, so that `shutdown` and `stop_child` can wait for it in this thread.
        self._happened: queue.SimpleQueue[Input] = queue.SimpleQueue()
        self._timer: Timer | None = None
        self._answers: list[Answer] = []

    # -- pykka's hooks ------------------------------------------------------------------------

    def on_start(self) -> None:
        """Start the children, in order; each after the one before it is ready."""
        self._handle(Begin())

    def on_receive(self, message: object) -> None:
        """Take what the processes and the timer report."""
        if message is not _WAKE:
            _log.warning("supervisor %s: message ignored: %r", self._spec.id, message)
            return
        self._handle(Tick())
        while not self._happened.empty():
            self._handle(self._happened.get())

    def on_stop(self) -> None:
        """Shut the children down."""
        self.shutdown()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """After an error of our own: leave no child without a supervisor."""
        self.shutdown()

    # -- for callers, by proxy ----------------------------------------------------------------

    def add_child(self, spec: ChildSpec) -> None:
        """Start one more child, as the last in the order. Returns before it is ready.

        Raises:
            DuplicateChild: there is one of that id.
            SupervisorStopping: it is too late.
        """
        self._handle(AddChild(spec))

    def stop_child(self, child_id: str) -> None:
        """End a child and return when it is gone; at most its `shutdown_s` and 9 seconds later.

        It stays known, as stopped, unless it is temporary.

        Raises:
            UnknownChild: there is none of that id.
        """
        self._handle(StopChild(child_id))
        if self._spec.exact:
            # It had to wait for its turn, and siblings may have moved the child meanwhile.
            with contextlib.suppress(SupervisorStopping):
                self._ask(Request(Op.TERMINATE, child_id))
        self._wait_until(lambda: not self._core.is_running(child_id))

    def terminate_child(self, child_id: str) -> Result:
        """End a child and return when it is gone: `ok`, or `not_found`.

        It stays known, as stopped, unless it is temporary. At most its `shutdown_s` and 9 seconds.

        Raises:
            SupervisorStopping: it is too late.
        """
        return self._ask(Request(Op.TERMINATE, child_id))

    def restart_child(self, child_id: str) -> Result:
        """Start a known child that does not run; return when it is ready or failed.

        Returns:
            `ok`, `not_found`, `running`, `restarting`, `no_budget` (it must be granted more first)
            or `start_failed`; it is not tried again.

        Raises:
            SupervisorStopping: it is too late.
        """
        return self._ask(Request(Op.RESTART, child_id))

    def delete_child(self, child_id: str) -> Result:
        """Forget a child that does not run: `ok`, `not_found`, `running` or `restarting`.

        Raises:
            SupervisorStopping: it is too late.
        """
        return self._ask(Request(Op.DELETE, child_id))

    def start_child(self, spec: ChildSpec) -> Result:
        """Start one more child, as the last in the order; return when it is ready or failed.

        Returns:
            `ok`, `already_started`, `already_present`, or `start_failed`: then it is not kept.

        Raises:
            InvalidSpec: this supervisor cannot have such a child.
            SupervisorStopping: it is too late.
        """
        return self._ask(Request(Op.START_CHILD, spec.id, spec))

    def kill_child(self, child_id: str, detail: str = "its owner gave it up") -> None:
        """Kill a child that does not work any more, as if it were found hung: its rules apply.

        Its stacks go to its log first. Returns at once; one that has no process is left alone.

        Raises:
            UnknownChild: there is none of that id.
        """
        known = tuple(status.child_id for status in self._core.status())
        if child_id not in known:
            raise UnknownChild(self._spec.id, child_id, known)
        if child_id in self._processes:
            self._processes[child_id].kill("hung", detail)

    def renew_child(self, child_id: str) -> None:
        """End a child in good order and start it again, at once and uncounted; returns at once.

        Raises:
            UnknownChild: there is none of that id.
        """
        self._handle(Renew(child_id))

    def report(self) -> SupervisorStatus:
        """The rules, the restarts that count now, and the children."""
        spec, used = self._spec, self._core.restarts_in_window(self._clock())
        rules = (spec.id, spec.strategy.value, spec.intensity, spec.period_s)
        return SupervisorStatus(*rules, used, tuple(self.status()))

    def spent(self, child_id: str, amount: float, incarnation: int | None = None) -> None:
        """Count what a child has spent, as its meter says; see `Budget`.

        What a child says by `ChildContext.spent` is counted without this.

        Args:
            child_id: one that is not known any more is left alone.
            amount: in the unit of its budget.
            incarnation: which start of it spent that; None: the last.

        Raises:
            InvalidSpec: the amount is no finite number of 0 or more.
        """
        last = next((s.incarnation for s in self._core.status() if s.child_id == child_id), 0)
        self._handle(Spent(child_id, last if incarnation is None else incarnation, amount))

    def grant(self, child_id: str, amount: float) -> None:
        """Let a child spend more; one that ended for want of it is started again.

        Args:
            child_id: which.
            amount: in the unit of its budget, on top of its limit.

        Raises:
            InvalidSpec: it has no budget, or the amount is no finite number of 0 or more.
            UnknownChild: there is none of that id.
        """
        self._handle(Grant(child_id, amount))

    def status(self) -> list[ChildStatus]:
        """How the children stand, in start order."""
        return [
            replace(status, pid=process.pid)
            if (process := self._processes.get(status.child_id))
            else status
            for status in self._core.status(self._clock())
        ]

    def shutdown(self) -> None:
        """End all children, the last started first, and return when they are gone.

        Takes at most the sum of their `shutdown_s`, and 9 seconds for each that does not listen.
        The actor stays, without children, until it is stopped. Idempotent.
        """
        self._handle(Shutdown())
        self._wait_until(lambda: self._core.is_finished)

    # -- inside -------------------------------------------------------------------------------

    def _handle(self, happened: Input) -> None:
        if isinstance(happened, ChildExited):
            self._processes.pop(happened.child_id, None)
        for command in self._core.handle(happened, self._clock()):
            self._do(command)
        self._set_timer()

    def _ask(self, request: Request) -> Result:
        self._answers.clear()
        self._handle(request)
        self._wait_until(lambda: self._answer_to(request) is not None)
        answer = self._answer_to(request)
        if answer is None or answer.result is Result.STOPPING:
            raise SupervisorStopping(self._spec.id)
        return answer.result

    def _answer_to(self, request: Request) -> Answer | None:
        asked = (request.op, request.child_id)
        return next((a for a in self._answers if (a.op, a.child_id) == asked), None)

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        """Go on supervising, in this call, until it is so. Each process ends within its limits."""
        while not is_so():
            wake = self._core.next_wake
            patience_s = None if wake is None else max(0.0, wake - self._clock())
            try:
                self._handle(self._happened.get(timeout=patience_s))
            except queue.Empty:
                self._handle(Tick())

    def _do(self, command: Command) -> None:
        match command:
            case Start(spec, incarnation):
                self._start_process(spec, incarnation)
            case Stop(child_id, shutdown_s):
                # One that could not be started has no process; its exit is on the way.
                if child_id in self._processes:
                    self._processes[child_id].stop(shutdown_s)
            case Tell(event):
                self._tell(event)
            case Answer():
                self._answers.append(command)
            case Finished(gave_up, by_itself):
                if gave_up:
                    _log.error("supervisor %s gives up", self._spec.id)
                if by_itself:
                    with contextlib.suppress(pykka.ActorDeadError):
                        self.stop()

    def _start_process(self, spec: ChildSpec, incarnation: int) -> None:
        def on_ready(info: dict[str, Any]) -> None:
            self._report(ChildReady(spec.id, incarnation, info))

        def on_exit(reason: ExitReason) -> None:
            self._report(ChildExited(spec.id, incarnation, reason))

        def on_spent(amount: float) -> None:
            self._report(Spent(spec.id, incarnation, amount))

        def on_spared(away_s: float, what: str) -> None:
            self._report(Spared(spec.id, incarnation, away_s, what))

        try:
            process = Process(
                *(spec, incarnation, self._forks),
                on_ready=on_ready,
                on_exit=on_exit,
                on_spent=on_spent,
                on_spared=on_spared,
            )
            process.start()
        except SpawnFailed as error:
            on_exit(ExitReason("crash", detail=str(error)))
        except (ForkServerBroken, ForkServerClosed) as error:
            on_exit(ExitReason("permanent", detail=str(error), failure_kind="config"))
        else:
            self._processes[spec.id] = process

    def _report(self, happened: Input) -> None:
        """From any thread."""
        self._happened.put(happened)
        self._wake()

    def _wake(self) -> None:
        # An actor that is stopping reads `_happened` by itself.
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_ref.tell(_WAKE)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake = self._core.next_wake
        if wake is not None:
            with contextlib.suppress(ForkServerClosed):
                delay_s = max(0.0, wake - self._clock())
                self._timer = self._forks.reactor.call_later(delay_s, self._wake)

    def _tell(self, event: ChildEvent) -> None:
        _log.log(_level(event), "%s: %s", self._spec.id, describe(event))
        if self._listener is None:
            return
        try:
            self._listener(event)
        except Exception:  # noqa: BLE001 - a bad listener must not end the supervision
            _log.exception("the listener of supervisor %s failed on %r", self._spec.id, event)


def _level(event: ChildEvent) -> int:
    if event.kind == "gave_up":
        return logging.ERROR
    if event.kind in ("budget_warning", "budget_spent", "spared"):
        return logging.WARNING
    fell = event.reason is not None and event.reason.kind not in ("normal", "shutdown")
    return logging.WARNING if event.kind == "exited" and fell else logging.INFO
