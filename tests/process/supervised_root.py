"""A program that supervises children, for tests that kill it: prints their process ids, then waits.

Its arguments are the targets of its children, by name.
"""

from __future__ import annotations

import json
import queue
import sys
import threading

from understudy.supervision import ChildEvent, ChildSpec, ForkServer, Supervisor, SupervisorSpec


def main(targets: list[str]) -> None:
    events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
    forks = ForkServer()
    forks.start()
    children = tuple(
        ChildSpec(f"kid{number}", f"supervised_targets:{target}")
        for number, target in enumerate(targets)
    )
    Supervisor.start(SupervisorSpec("top", children=children), forks, events.put)
    pids: list[int] = []
    while len(pids) < len(children):
        event = events.get()
        if event.kind == "ready":
            pids.append(event.info["pid"])
    sys.stdout.write(json.dumps({"forks": forks.pid, "children": pids}) + "\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
