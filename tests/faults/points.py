"""The numbered moments at which something is killed, as a table.

A number stands for one moment for ever: new points go to the end.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

When = Literal["before", "after"]
Role = Literal["service", "fork server", "guard", "gateway", "agent", "conmon", "cli", "podman"]
# What has to go on for the point to be passed: a start, a task, the fall of an agent, a stop.
Stage = Literal["start", "work", "fall", "stop"]

STORE = "understudy.actors.tasks.store:TaskStore"
FLEET = "understudy.actors.fleet:Fleet"
AGENT = "understudy.actors.agent:ClaudeAgent"
SEAT = "understudy.actors.seat:Seat"
CONTAINER = "understudy.actors.podman.container:Container"
WORKSPACE = "understudy.actors.workspace:Workspace"
CLIENT = "understudy.actors.claude.client:ClaudeClient"
RUNNER = "understudy.actors.task_runner:TaskRunner"
GUARD = "understudy.actors.podman.guard:Guard"
FORKS = "understudy.supervision.forkserver:ForkServer"
HOST = "understudy.supervision.forkhost:Host"


@dataclass(frozen=True)
class Point:
    """One moment and its victim.

    Attributes:
        what: the step, in words.
        when: before the function is called, or after it has returned.
        target: `module:name` of the function.
        process: whose call counts.
        victim: who gets SIGKILL; `process` itself dies in the very call.
        needs_container: without it agents work on nothing, in milliseconds.
    """

    number: int
    what: str
    when: When
    target: str
    process: Role
    victim: Role
    stage: Stage
    needs_container: bool

    def __str__(self) -> str:
        return f"point {self.number}: {self.victim} killed {self.when} {self.what}"


@dataclass(frozen=True)
class _Step:
    what: str
    target: str
    process: Role
    stage: Stage = "work"
    needs_container: bool = False


def _heavy(what: str, target: str, process: Role, stage: Stage = "work") -> _Step:
    return _Step(what, target, process, stage, needs_container=True)


# Each of these kills the process that is in it, before and after.
_STEPS = (
    _Step("the fork server is started", f"{FORKS}.start", "service", "start"),
    _Step("folders and lock are made", f"{FLEET}._make_places", "service", "start"),
    _Step("the guard is started", f"{GUARD}.start", "service", "start"),
    _Step("a child is asked for", f"{FORKS}.spawn", "service", "start"),
    _Step(
        "a child is told who it is",
        "understudy.supervision.process:Process._send_start",
        "service",
        "start",
    ),
    _Step(
        "an incarnation is recorded",
        "understudy.actors.tasks.incarnations:IncarnationTable.started",
        "service",
        "start",
    ),
    _Step("the unfinished tasks are taken over", f"{STORE}.recover", "service", "start"),
    _Step(
        "dead runs are removed",
        "understudy.actors.housekeeping:remove_dead_runs",
        "service",
        "start",
    ),
    _Step("a submitted task is stored", f"{STORE}.add_many", "service"),
    _Step("a stored task is queued", f"{STORE}.events_of_many", "service"),
    _Step("a request is acknowledged", "understudy.control:ControlServer._send", "service"),
    _Step("an attempt is recorded", f"{STORE}.start", "service"),
    _Step("an order is sent", "understudy.actors.orders:Orders.give", "service"),
    _Step("a result is received", "understudy.actors.root:RootActor._on_result", "service"),
    _Step("a result is recorded", f"{STORE}.finish", "service"),
    _Step("those who wait are told", "understudy.actors.handle:TaskHandle.finish", "service"),
    _Step("the fall of an agent is recorded", f"{STORE}.end_attempt", "service", "fall"),
    _Step("the fleet drains", "understudy.actors.root:RootActor.drain", "service", "stop"),
    _Step(
        "what still runs is parked",
        "understudy.actors.root:RootActor.abandon",
        "service",
        "stop",
    ),
    _Step(
        "a supervisor ends its children",
        "understudy.supervision.supervisor:Supervisor.shutdown",
        "service",
        "stop",
    ),
    _Step("the guard is closed", f"{GUARD}.close", "service", "stop"),
    _Step("the fork server is closed", f"{FORKS}.close", "service", "stop"),
    _Step("the store is closed", f"{STORE}.close", "service", "stop"),
    _Step("a child is forked", f"{HOST}._fork", "fork server", "start"),
    _Step("a child's end is seen", f"{HOST}._reap", "fork server", "fall"),
    _Step("an agent joins the bus", "understudy.actors.agent:join_bus", "agent", "start"),
    _Step(
        "an agent says it is ready",
        "understudy.supervision.context:ChildContext.ready",
        "agent",
        "start",
    ),
    _Step("an order is received", f"{AGENT}._take", "agent"),
    _Step("a result is sent", f"{AGENT}._respond", "agent"),
    _Step("an agent says it is idle", f"{AGENT}._tell_state", "agent"),
    _heavy("a container's folders are made", f"{WORKSPACE}.create", "agent"),
    _heavy("podman is asked", f"{CONTAINER}._start_client", "agent"),
    _heavy("a container starts", f"{CONTAINER}.start", "agent"),
    _heavy("the CLI shakes hands", f"{CLIENT}.initialize", "agent"),
    _heavy("files are staged", f"{WORKSPACE}.stage", "agent"),
    _heavy("a turn runs", f"{CLIENT}.run_turn", "agent"),
    _heavy("an event of the turn is taken", f"{RUNNER}.on_event", "agent"),
    _heavy("the diff is taken", f"{WORKSPACE}.diff", "agent"),
    _heavy("the seat is tidied up", f"{SEAT}.recycle", "agent"),
    _heavy("a container is removed", f"{CONTAINER}.remove", "agent"),
    _heavy(
        "containers of predecessors are removed",
        "understudy.actors.seat:remove_predecessors",
        "agent",
        "fall",
    ),
    _heavy("a request is passed on", "understudy.actors.gateway.app:AgentApp._serve", "gateway"),
    _heavy("usage is told", "understudy.actors.gateway.bus:GatewayBus.report", "gateway"),
)

# At each of these moments one of others is killed.
_MOMENTS: tuple[tuple[_Step, When, tuple[Role, ...]], ...] = (
    (
        _heavy("an event of the turn is taken", f"{RUNNER}.on_event", "agent"),
        "after",
        ("service", "fork server", "guard", "gateway", "conmon", "cli"),
    ),
    (
        _heavy("the CLI shakes hands", f"{CLIENT}.initialize", "agent"),
        "before",
        ("service", "gateway", "conmon", "cli"),
    ),
    (
        _heavy("podman is asked", f"{CONTAINER}._start_client", "agent"),
        "after",
        ("service", "fork server", "guard"),
    ),
    (
        _heavy("a container starts", f"{CONTAINER}.start", "agent"),
        "after",
        ("service", "conmon", "cli"),
    ),
    (
        _Step("an order is sent", "understudy.actors.orders:Orders.give", "service"),
        "before",
        ("agent", "fork server"),
    ),
    (
        _Step("an order is sent", "understudy.actors.orders:Orders.give", "service"),
        "after",
        ("agent", "gateway"),
    ),
    (
        _heavy("a result is recorded", f"{STORE}.finish", "service"),
        "before",
        ("agent", "conmon", "guard"),
    ),
    (
        _heavy("the seat is tidied up", f"{SEAT}.recycle", "agent"),
        "before",
        ("service", "conmon", "cli"),
    ),
    (
        _heavy("the fleet drains", "understudy.actors.root:RootActor.drain", "service", "stop"),
        "before",
        ("agent", "gateway", "fork server", "guard", "conmon", "cli"),
    ),
    (
        _heavy(
            "a supervisor ends its children",
            "understudy.supervision.supervisor:Supervisor.shutdown",
            "service",
            "stop",
        ),
        "before",
        ("agent", "gateway", "fork server", "guard", "conmon"),
    ),
    (
        _heavy("podman is asked", f"{CONTAINER}._start_client", "agent"),
        "after",
        ("podman",),
    ),
)


def _points() -> Iterator[Point]:
    numbers = itertools.count(1)
    sides: tuple[When, ...] = ("before", "after")
    for step, when in itertools.product(_STEPS, sides):
        yield _point(next(numbers), step, when, step.process)
    for step, when, victims in _MOMENTS:
        for victim in victims:
            yield _point(next(numbers), step, when, victim)


def _point(number: int, step: _Step, when: When, victim: Role) -> Point:
    return Point(
        number,
        step.what,
        when,
        step.target,
        step.process,
        victim,
        step.stage,
        step.needs_container,
    )


POINTS: dict[int, Point] = {point.number: point for point in _points()}


def table() -> str:
    """All points, as Markdown."""
    lines = ["| point | killed | moment | function | container |", "|---|---|---|---|---|"]
    for point in POINTS.values():
        container = "yes" if point.needs_container else ""
        cells = (point.number, point.victim, f"{point.when} {point.what}")
        shown = " | ".join(map(str, cells))
        lines.append(f"| {shown} | `{point.target}` | {container} |")
    return "\n".join(lines)
