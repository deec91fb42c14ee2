"""Put into the service and, as the last module of its preload, into its fork server.

Wraps the functions that the trial's points name, and those whose calls the checker wants to know.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import victims
from .plan import VARIABLE, Plan
from .points import RUNNER, SEAT, STORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .points import Point

_DELAY = re.compile(r'"delay": ([\d.]+)')


def install() -> None:
    """Wrap what this process and its children will call."""
    plan = Plan.load(os.environ[VARIABLE])
    if plan.light:
        work_on_nothing()
    watch(plan)
    for target in {plan.point(index).target for index in range(len(plan.numbers))}:
        replace(target, functools.partial(passing, plan, target))


def replace(target: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Have `module:name` be what `wrap` makes of it."""
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, wrap(getattr(owner, name)))


# -- points ---------------------------------------------------------------------------------------


def passing(plan: Plan, target: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with the points of the trial before and after it."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed on
            perhaps_strike(plan, target, "before")
            value = await function(*args, **kwargs)
            perhaps_strike(plan, target, "after")
            return value

        return call_async

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed on
        perhaps_strike(plan, target, "before")
        value = function(*args, **kwargs)
        perhaps_strike(plan, target, "after")
        return value

    return call


def perhaps_strike(plan: Plan, target: str, when: str) -> None:
    """Kill the victim if the trial's next point is passed here."""
    index = plan.armed()
    if index is None:
        return
    point = plan.point(index)
    if (point.target, point.when) != (target, when) or own_role() != point.process:
        return
    if not plan.pass_by(index):
        return
    # The fork server may have no thread, and a process that dies in the call itself needs none.
    delay_s = 0.0 if point.process == "fork server" else plan.delay_s(index)
    if delay_s == 0.0:
        strike(plan, index, point)
    else:
        threading.Timer(delay_s, strike, (plan, index, point)).start()


def strike(plan: Plan, index: int, point: Point) -> None:
    """Kill the victim now."""
    home = Path(plan.home)
    is_self = point.victim == point.process
    pids = [os.getpid()] if is_self else victims.with_role(home, point.victim)
    plan.note("fired", index=index, number=point.number, victim=point.victim, pids=pids)
    for pid in pids:
        victims.kill(pid, signal.SIGKILL)


def own_role() -> str | None:
    """The part that this process plays."""
    return victims.role_of(os.getpid())


# -- what the checker wants to know ---------------------------------------------------------------


def watch(plan: Plan) -> None:
    """Note which agent got which order, and which results the store took."""

    def taking(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(runner: Any, job: Any) -> Any:  # noqa: ANN401 - the runner's own
            told = {"task_id": job.task.task_id, "may_have_run": job.may_have_run}
            plan.note("order", **told, attempt=job.attempt, pid=os.getpid())
            return function(runner, job)

        return run

    def recording(function: Callable[..., Any]) -> Callable[..., Any]:
        def finish(store: Any, result: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            recorded = function(store, result, *args, **kwargs)
            if recorded:
                plan.note("recorded", task_id=result.task_id)
            return recorded

        return finish

    replace(f"{RUNNER}.run", taking)
    replace(f"{STORE}.finish", recording)


# -- agents without containers --------------------------------------------------------------------


def work_on_nothing() -> None:
    """Have agents answer at once, or after the delay that the task's script asks for."""
    replace(f"{RUNNER}.run", lambda _: answer)
    for name in ("remove_predecessors", "warm_up", "recycle", "close"):
        replace(f"{SEAT}.{name}", lambda _: lambda *_args, **_kwargs: None)


def answer(runner: Any, job: Any) -> Any:  # noqa: ANN401 - the runner's own
    """What such an agent has in place of a turn."""
    from understudy.actors.tasks.task import TaskResult  # noqa: PLC0415 - only agents need it

    found = _DELAY.search(job.task.description)
    time.sleep(float(found[1]) if found else 0.0)
    output = {"output": "done"}
    return TaskResult(job.task.task_id, runner._agent_id, "success", output, attempts=job.attempt)
