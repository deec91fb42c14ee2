"""The fleet beside doing it by hand: seconds for a task, tasks in a time, memory at rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from bench.fleet.byhand import FILE, ByHand
from understudy import Orchestrator, Task

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_REST_S = 30.0
# Not ours to count: what runs in and around the containers.
_FOREIGN = ("conmon", "catatonit", "claude", "podman")


def review(repo: Path, name: str = FILE) -> Task:
    """One review of one file."""
    return Task(task_type="code_review", description="Look for bugs", files=[name], repo=str(repo))


def by_hand(hand: ByHand) -> float:
    """Seconds of one review by hand."""
    began = time.perf_counter()
    hand.run_one()
    return time.perf_counter() - began


def by_xargs(hand: ByHand) -> float:
    """Seconds of thirty reviews, three at once, by hand."""
    began = time.perf_counter()
    hand.run_many(30, 3)
    return time.perf_counter() - began


def cold(repo: Path) -> float:
    """Seconds of one `understudy run`, from nothing to the printed result."""
    command = [
        sys.executable, "-m", "understudy", "run", "Look for bugs", "--type", "code_review",
        "-f", FILE, "--agents", "1", "--json",
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, cwd=repo, capture_output=True, timeout=120, check=True)
    return time.perf_counter() - began


def warm(fleet: Orchestrator, repo: Path) -> float:
    """Seconds of one review on an agent that is warm for it."""
    wait_until_ready(fleet)
    began = time.perf_counter()
    result = fleet.execute_task(review(repo))
    took = time.perf_counter() - began
    assert result.status == "success", result.error
    return took


def thirty(fleet: Orchestrator, repo: Path) -> float:
    """Seconds of thirty reviews on a fleet of three agents that runs already."""
    wait_until_ready(fleet)
    tasks = [review(repo, f"shop/cart_{number:02d}.py") for number in range(30)]
    began = time.perf_counter()
    handles = fleet.submit_all(tasks)
    results = [handle.wait(120) for handle in handles]
    took = time.perf_counter() - began
    assert all(result.status == "success" for result in results)
    return took


def wait_until_ready(fleet: Orchestrator) -> None:
    """Return when every agent is idle and warm."""
    ends = time.monotonic() + 60
    while any(agent["state"] != "ready" for agent in fleet.get_agent_status().values()):
        assert time.monotonic() < ends, fleet.get_agent_status()
        time.sleep(0.01)


@contextmanager
def warm_fleet(agents: int) -> Generator[Orchestrator]:
    """A fleet whose agents are warm for reviews."""
    settings = {"orchestrator.num_agents": agents, "agent.warm_for": "code_review"}
    with Orchestrator(overrides=settings) as fleet:
        wait_until_ready(fleet)
        yield fleet


def at_rest(agents: int = 3) -> dict[str, float]:
    """Memory and CPU of the service's own processes with idle agents, after it came to rest.

    Other fleets may run meanwhile: only this service's own processes are counted.
    """
    command = [sys.executable, "-m", "understudy", "serve", "--agents", str(agents)]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert service.stderr is not None
        for line in service.stderr:
            if line.startswith("ready:"):
                break
        time.sleep(5.0)
        processes = own_processes(service.pid)
        before = cpu_seconds(processes)
        time.sleep(_REST_S)
        used = cpu_seconds(processes) - before
        pss = {f"{p.name()} {p.pid}": p.memory_full_info().pss for p in processes}
    finally:
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=60)
    return {
        "pss_mb": round(sum(pss.values()) / 1e6, 1),
        "share_of_a_core_percent": round(100 * used / _REST_S, 2),
        **{f"{name} mb": round(value / 1e6, 1) for name, value in pss.items()},
    }


def own_processes(pid: int) -> list[psutil.Process]:
    """The service and its descendants, without what belongs to the containers."""
    found = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return [p for p in found if not any(word in p.name() for word in _FOREIGN)]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """What the processes have used in all."""
    return sum(sum(p.cpu_times()[:2]) for p in processes if p.is_running())


def use_model(url: str) -> None:
    """Point everything that is measured at this scripted model."""
    os.environ["ANTHROPIC_BASE_URL"] = url
    os.environ["ANTHROPIC_API_KEY"] = "bench"
