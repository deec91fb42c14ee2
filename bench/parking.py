"""How long the first request of a task takes on a parked agent and on a warm one, and what parks.

`python -m bench.parking` gives one agent task after task, in turn while it is warm and after it was
parked; the model is scripted. Measured is from `submit` until the first request of the task has
reached the model. The memory is the proportional share (PSS) of the idle container's processes,
conmon included, which parking frees, and of the agent's own process, which stays.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from typing import TYPE_CHECKING, Any

import psutil

from bench.fleet.measure import use_model
from bench.machine import machine
from understudy import Orchestrator, Task
from understudy.fakeapi import FakeApiThread

if TYPE_CHECKING:
    from collections.abc import Callable

_PARK_AFTER_S = 2.0
_LIMIT_S = 60.0
_LOOK_S = 0.01


def await_agent(fleet: Orchestrator, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The one agent's status as soon as the condition holds."""
    ends = time.monotonic() + _LIMIT_S
    while not condition(agent := fleet.get_agent_status()["agent_000"]):
        assert time.monotonic() < ends, agent
        time.sleep(_LOOK_S)
    return agent


def is_warm(agent: dict[str, Any]) -> bool:
    """Whether a CLI waits for a task."""
    return agent["state"] == "ready" and agent["container_pid"] is not None


def is_parked(agent: dict[str, Any]) -> bool:
    """Whether its container has ended."""
    return bool(agent["state"] == "parked")


def first_request_s(fleet: Orchestrator, api: FakeApiThread) -> float:
    """Seconds from `submit` until the task's first request is there."""
    before, began = len(api.requests), time.time()
    result = fleet.execute_task(Task(description="do it @@ [{}] @@", timeout=_LIMIT_S))
    assert result.status == "success", result.error
    took: float = api.requests[before]["t"] - began
    return took


def pss_mb(*processes: psutil.Process) -> float:
    """Their memory, what they share with others by its share."""
    return sum(process.memory_full_info().pss for process in processes) / 1e6


def memory_of(agent: dict[str, Any]) -> tuple[float, float]:
    """Of the container's processes, and of the agent's own."""
    first = psutil.Process(agent["container_pid"])
    conmon = first.parent()
    assert conmon is not None
    container = [conmon, first, *first.children(recursive=True)]
    return pss_mb(*container), pss_mb(psutil.Process(agent["pid"]))


def measure(times: int) -> dict[str, Any]:
    """So many tasks of each kind, in turn."""
    warm_s: list[float] = []
    parked_s: list[float] = []
    memory: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="us-bench-") as folder, FakeApiThread() as api:
        use_model(api.url)
        settings = {
            "orchestrator.num_agents": 1,
            "agent.park_after": _PARK_AFTER_S,
            "storage.state_dir": folder,
        }
        with Orchestrator(overrides=settings) as fleet:
            for _ in range(times):
                memory.append(memory_of(await_agent(fleet, is_warm)))
                warm_s.append(first_request_s(fleet, api))
                await_agent(fleet, is_parked)
                parked_s.append(first_request_s(fleet, api))
    return {
        "what": "submit to the first request",
        "times": times,
        "warm_ms": _spread(warm_s),
        "parked_ms": _spread(parked_s),
        "freed_mb_p50": round(statistics.median(freed for freed, _ in memory), 1),
        "stays_mb_p50": round(statistics.median(stays for _, stays in memory), 1),
        "machine": machine(),
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    found = {"min": min(seconds), "p50": statistics.median(seconds), "max": max(seconds)}
    return {name: round(value * 1e3, 1) for name, value in found.items()}


def main() -> None:
    """Parse the command line, measure, print one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.parking", description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    args = parser.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    print(json.dumps(measure(args.times)), flush=True)


if __name__ == "__main__":
    main()
