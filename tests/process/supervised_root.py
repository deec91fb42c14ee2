"""A program that supervises children, for tests that kill or stop it.

It prints their process ids, then one line for each event. Its arguments are the targets of its
children, by name; with `@SECONDS` behind it a child's loop must answer within that time.
"""

from __future__ import annotations

import json
import queue
import sys

from understudy.supervision import ChildEvent, ChildSpec, ForkServer, Supervisor, SupervisorSpec


def main(targets: list[str]) -> None:
    events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
    forks = ForkServer()
    forks.start()
    children = tuple(
        ChildSpec(
            f"kid{number}",
            f"supervised_targets:{target.partition('@')[0]}",
            liveness_interval_s=float(target.partition("@")[2] or 0) or None,
        )
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
    while True:
        event = events.get()
        sys.stdout.write(f"{event.kind} {event.child_id}{event.incarnation}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
