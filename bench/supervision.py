"""`python -m bench.supervision`: how soon a death is known, and how soon the next one is ready.

Children without work are killed by SIGKILL, one at a time, under the real supervisor and the real
fork server, with the modules of an agent preloaded. No backoff: its waits are a setting. Then
actors in processes of their own: how soon one hears of another's death, and of a deadlock.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import random
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import actor_ends
from bench.machine import machine
from understudy.supervision import ChildSpec, ForkServer, Supervisor, SupervisorSpec

if TYPE_CHECKING:
    from understudy.supervision import ChildContext, ChildEvent

_KILLS = 1000
_ACTOR_KILLS = 200
_RINGS = 50
_CHILDREN = 3
_MAX_PAUSE_S = 0.01
_LIMIT_S = 30.0
_DOWN_GOAL_MS = 50.0
_READY_GOAL_MS = 300.0
_RING_GOAL_MS = 100.0
# More restarts than any run makes in a second.
_INTENSITY = 1_000_000


def child(context: ChildContext) -> None:
    """Be ready, and end when asked."""
    context.ready()
    context.stop_requested.wait()


class Listener:
    """The supervisor's listener: notes when each event came, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[tuple[float, ChildEvent]] = queue.SimpleQueue()

    def __call__(self, event: ChildEvent) -> None:
        """Take an event, in the supervisor's thread."""
        self.events.put((time.monotonic(), event))

    def await_event(self, kind: str, child_id: str) -> tuple[float, int]:
        """When the next such event came, and the process id it names, if any."""
        while True:
            at, event = self.events.get(timeout=_LIMIT_S)
            if (event.kind, event.child_id) == (kind, child_id):
                return at, int(event.info.get("pid", 0))


def measure(kills: int, children: int, preload: list[str], seed: int) -> dict[str, list[float]]:
    """Milliseconds from each SIGKILL to its `exited` event, and from there to `ready`."""
    chance = random.Random(seed)
    names = [f"child_{number:03d}" for number in range(children)]
    specs = tuple(ChildSpec(name, "bench.supervision:child") for name in names)
    rules = SupervisorSpec("bench", intensity=_INTENSITY, period_s=1.0, children=specs)
    listener = Listener()
    found: dict[str, list[float]] = {"down_ms": [], "ready_ms": []}
    with ForkServer((*preload, "bench.supervision")) as forks:
        supervisor = Supervisor.start(rules, forks, listener)
        pids = {name: listener.await_event("ready", name)[1] for name in names}
        for _ in range(kills):
            time.sleep(chance.uniform(0, _MAX_PAUSE_S))
            name = chance.choice(names)
            killed_at = time.monotonic()
            os.kill(pids[name], signal.SIGKILL)
            down_at, _ = listener.await_event("exited", name)
            ready_at, pids[name] = listener.await_event("ready", name)
            found["down_ms"].append((down_at - killed_at) * 1e3)
            found["ready_ms"].append((ready_at - down_at) * 1e3)
        supervisor.stop(block=True, timeout=_LIMIT_S)
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Median, 99 of 100, and the longest."""
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 2),
        "p99": round(ordered[int(len(ordered) * 0.99)], 2),
        "max": round(ordered[-1], 2),
    }


def _name(key: str) -> str:
    names = {
        "down_ms": "SIGKILL to `exited`",
        "ready_ms": "`exited` to the next `ready`",
        "watcher_ms": "SIGKILL to `Down` in another process",
    }
    return names.get(key) or f"last ask to `DeadlockError`, ring of {key.split('_')[1]}"


def _goal_ms(key: str) -> float:
    goals = {"down_ms": _DOWN_GOAL_MS, "watcher_ms": _DOWN_GOAL_MS, "ready_ms": _READY_GOAL_MS}
    return goals.get(key, _RING_GOAL_MS)


def table(found: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    rows = [
        f"| {_name(key)} | {ms['p50']} | {ms['p99']} | {ms['max']} | p99 ≤ {_goal_ms(key):g} |"
        for key, ms in found.items()
    ]
    head = ["| ms | p50 | p99 | max | goal |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def main() -> int:
    """Measure, print, and say by the exit code whether the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.supervision", description=__doc__)
    parser.add_argument("--kills", type=int, default=_KILLS)
    parser.add_argument("--actor-kills", type=int, default=_ACTOR_KILLS)
    parser.add_argument("--rings", type=int, default=_RINGS, help="of each size")
    parser.add_argument("--children", type=int, default=_CHILDREN)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write everything that was measured there")
    args = parser.parse_args()
    logging.getLogger("understudy").setLevel(logging.CRITICAL)  # each death is a warning
    measured = measure(args.kills, args.children, ["understudy.actors.agent"], args.seed)
    measured |= actor_ends.measure(args.actor_kills, args.rings)
    found = {key: spread(values) for key, values in measured.items()}
    print(table(found))
    print(json.dumps({"machine": machine(), "kills": args.kills, "seed": args.seed, **found}))
    if args.json:
        whole = {"machine": machine(), "command": " ".join(sys.argv), **measured}
        args.json.write_text(json.dumps(whole) + "\n", encoding="utf-8")
    return 0 if all(ms["p99"] <= _goal_ms(key) for key, ms in found.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
