"""Plays a scenario on the real core, with played processes and a virtual clock. Pure."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from .core import SupervisorCore
from .errors import InvalidSpec, SupervisorStopping, UnknownChild
from .events import ChildEvent, ChildState, ExitReason
from .scenario import Allow, Ask, Exit, FailStart, Spend, Together, Wait
from .signals import (
    Answer,
    Begin,
    ChildExited,
    ChildReady,
    Finished,
    Grant,
    Request,
    Result,
    Shutdown,
    Spent,
    Start,
    Stop,
    Tell,
    Tick,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .scenario import Event, Scenario, Step
    from .signals import Command, Input

Edge = Literal["start", "end"]

_BUDGET = ("budget_warning", "budget_spent")
_STATES = {
    ChildState.READY: "running",
    ChildState.STARTING: "running",
    ChildState.STOPPING: "running",
    ChildState.WAITING: "restarting",
    ChildState.STOPPED: "stopped",
    ChildState.FAILED: "stopped",
}


def play(scenario: Scenario, *, seed: int = 0) -> Iterator[dict[str, Any]]:
    """What happens, one event after the other, each with its name under `event`.

    Args:
        scenario: what to play.
        seed: for the jitter of a backoff.
    """
    for _, events in play_by_step(scenario, seed=seed):
        yield from events


def play_by_step(
    scenario: Scenario, *, seed: int = 0
) -> Iterator[tuple[Step | Edge, list[dict[str, Any]]]]:
    """The same, with what led to it: a step, the supervisor's start, or the end of the scenario.

    Args:
        scenario: what to play.
        seed: for the jitter of a backoff.
    """
    return _Player(scenario, seed).play()


class _Player:
    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        chance = random.Random(seed)  # noqa: S311 - spreads restarts, guards nothing
        self._core = SupervisorCore(scenario.supervisor, chance)
        self._now = 0.0
        self._alive: dict[str, int] = {}
        self._failing: dict[str, int] = {}
        self._replies: deque[Input] = deque()
        self._events: list[dict[str, Any]] = []
        self._answers: list[dict[str, Any]] | None = None

    def play(self) -> Iterator[tuple[Step | Edge, list[dict[str, Any]]]]:
        self._feed([Begin()])
        yield "start", self._flush()
        for step in self._scenario.steps:
            if self._core.is_finished:
                return
            self._step(step)
            yield step, self._flush()
        if not self._core.is_finished:
            for status in self._core.status():
                self._say("child", child=status.child_id, state=_STATES[status.state])
            self._feed([Shutdown()])
            yield "end", self._flush()

    def _flush(self) -> list[dict[str, Any]]:
        events, self._events = self._events, []
        return events

    def _step(self, step: Step) -> None:
        match step:
            case Wait(seconds):
                self._wait(seconds)
            case Together(steps):
                self._answers = []
                self._feed([i for part in steps for i in self._inputs(part)])
                answers, self._answers = self._answers, None
                gone = [e for e in self._events if e["event"] == "supervisor_exit"]
                kept = [e for e in self._events if e not in gone]
                self._events = [*kept, *answers, *gone]
            case _:
                self._feed(self._inputs(step))

    def _inputs(self, step: Event) -> list[Input]:
        match step:
            case FailStart(child_id, times):
                self._failing[child_id] = times
                return []
            case Ask(op, child_id, spec):
                return [Request(op, child_id, spec)]
            case Allow(child_id, amount):
                return [Grant(child_id, amount)]
            case Exit() | Spend():
                return self._of_process(step)

    def _of_process(self, step: Exit | Spend) -> list[Input]:
        child_id = step.child_id
        if child_id not in self._alive:
            self._say("not_running", child=child_id)
            return []
        if isinstance(step, Spend):
            return [Spent(child_id, self._alive[child_id], step.amount)]
        self._say("exit", child=child_id, reason=step.reason)
        reason = ExitReason(step.reason, failure_kind=step.kind)
        return [ChildExited(child_id, self._alive.pop(child_id), reason)]

    def _wait(self, seconds: float) -> None:
        # Decimal fractions miss their sum in the last digits, and so the second that it begins.
        ends = round(self._now + seconds, 6)
        while (wake := self._core.next_wake) is not None and round(wake, 6) <= ends:
            self._now = wake
            self._feed([Tick()])
        self._now = ends

    def _feed(self, inputs: Iterable[Input]) -> None:
        """All inputs are there before the first process reacts."""
        for happened in inputs:
            # A request to one that is ending finds nobody, as in OTP.
            with contextlib.suppress(SupervisorStopping):
                self._try(happened)
        while self._replies:
            self._do(self._core.handle(self._replies.popleft(), self._now))

    def _try(self, happened: Input) -> None:
        try:
            self._do(self._core.handle(happened, self._now))
        except (InvalidSpec, UnknownChild):
            if not isinstance(happened, Grant):
                raise
            self._say("no_budget", child=happened.child_id)

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Start(spec, incarnation):
                    self._start(spec.id, incarnation)
                case Stop(child_id):
                    self._stop(child_id)
                case Answer(op, child_id, result) if result is not Result.STOPPING:
                    self._answer(op.value, child_id, result.value)
                case Tell(ChildEvent(child_id=child_id, kind=kind, info=info)) if kind in _BUDGET:
                    self._events.append(
                        {
                            "event": kind,
                            "child": child_id,
                            "spent": info["spent"],
                            "limit": info["limit"],
                        }
                    )
                case Finished():
                    self._say("supervisor_exit", reason="shutdown")
                case _:
                    pass

    def _start(self, child_id: str, incarnation: int) -> None:
        if self._failing.get(child_id, 0) > 0:
            self._failing[child_id] -= 1
            self._say("start_failed", child=child_id)
            self._replies.append(ChildExited(child_id, incarnation, ExitReason("crash")))
            return
        self._say("start", child=child_id)
        self._alive[child_id] = incarnation
        self._replies.append(ChildReady(child_id, incarnation, {}))

    def _stop(self, child_id: str) -> None:
        # One that has ended before it was asked to: its exit is on the way.
        if child_id in self._alive:
            self._say("stop", child=child_id)
            incarnation = self._alive.pop(child_id)
            self._replies.append(ChildExited(child_id, incarnation, ExitReason("shutdown")))

    def _answer(self, op: str, child_id: str, result: str) -> None:
        answer = {"event": "result", "op": op, "child": child_id, "result": result}
        (self._events if self._answers is None else self._answers).append(answer)

    def _say(self, event: str, **what: str) -> None:
        self._events.append({"event": event, **what})
