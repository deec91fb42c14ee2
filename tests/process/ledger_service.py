"""A service of which only the gateway is left, for tests that kill both.

Its arguments are a folder and a JSON object that is added to the gateway's arguments. It prints a
line with the gateway's process id for each of its starts, and ends with its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from pathlib import Path

from understudy.supervision import (
    Backoff,
    ChildEvent,
    ChildSpec,
    ForkServer,
    Supervisor,
    SupervisorSpec,
)
from understudy.transport import ChannelClosed, UnixSocketChannel


def main(folder: Path, more: str) -> None:
    bus = UnixSocketChannel(folder / "bus.sock", is_server=True)
    threading.Thread(target=_drain, args=(bus,), daemon=True).start()
    args = {
        "upstream": f"unix:{folder}/model.sock",
        "credentials": {"kind": "api_key", "value": "key"},
        "bus": str(folder / "bus.sock"),
        "ledger": str(folder / "ledger.db"),
        "fleet": "service",
        **json.loads(more),
    }
    gateway = ChildSpec(
        "gateway",
        "understudy.actors.gateway.process:main",
        args,
        backoff=Backoff(min_s=0.01, max_s=0.02),
    )
    events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
    with ForkServer(["understudy.actors.gateway.process"]) as forks:
        spec = SupervisorSpec("services", intensity=10_000, children=(gateway,))
        supervisor = Supervisor.start(spec, forks, events.put)
        threading.Thread(target=_tell, args=(events,), daemon=True).start()
        sys.stdin.read()
        supervisor.stop(timeout=20.0)
        bus.close()


def _drain(bus: UnixSocketChannel) -> None:
    with contextlib.suppress(ChannelClosed):
        while True:
            bus.receive(60.0)


def _tell(events: queue.SimpleQueue[ChildEvent]) -> None:
    while True:
        event = events.get()
        if event.kind == "ready":
            sys.stdout.write(f"{event.info['pid']}\n")
            sys.stdout.flush()
        elif event.kind == "gave_up":
            os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
