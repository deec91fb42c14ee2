"""Python's own `multiprocessing.Pipe` into a bare loop: no actor, pickle as the codec."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING, Any

from bench.messaging.drive import Port, drive
from bench.messaging.job import Counter, Job, Values, clock, message, reply_to, started
from bench.messaging.program import main

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_TELL, _ASK, _STAT = range(3)


def serve(connection: Connection[Any, Any], want: int) -> None:
    """The receiver: a loop, until it is ended."""
    counter = Counter(want)
    while True:
        verb, received = connection.recv()
        if verb == _STAT:
            connection.send((counter.n, counter.t, os.getpid()))
            continue
        counter(received)
        if verb == _ASK:
            connection.send(reply_to(received))


def port(connection: Connection[Any, Any]) -> Port:
    """The sender's ends of one pipe."""
    send, receive = connection.send, connection.recv

    def ask(asked: dict[str, Any]) -> Any:  # noqa: ANN401 - a bound method
        send((_ASK, asked))
        return receive

    def stat() -> tuple[int, float]:
        send((_STAT, None))
        handled, last, _ = receive()
        return handled, last

    return Port(lambda told: send((_TELL, told)), lambda asked: ask(asked)(), ask, stat)


def start_one(context: Any) -> tuple[float, Any]:  # noqa: ANN401 - contexts share no type
    """Seconds from nothing to the first reply, and the process."""
    began = clock()
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, -1), daemon=True)
    process.start()
    ours.send((_ASK, message(0)))
    ours.recv()
    return clock() - began, process


def spawn(job: Job, method: str) -> Values:
    """Processes started one after the other by that start method."""
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(["bench.messaging.drive", "bench.messaging.program"])
    times: list[float] = []
    found: Values = {}
    # The first start of a fork server is the server's own.
    for _ in range(job.n + 1):
        took, process = start_one(context)
        times.append(took)
        found = started(times[-job.n :], process.pid)
        process.kill()
        process.join()
    return found


def run(job: Job, variant: str) -> Values:
    """Any job between processes; `variant` is the start method of kind `spawn`."""
    if job.kind == "spawn":
        return spawn(job, variant or "spawn")
    context = multiprocessing.get_context("fork")
    processes: list[Any] = []
    ports: list[Port] = []
    for _ in range(job.workers):
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, job.counted), daemon=True)
        process.start()
        processes.append(process)
        ports.append(port(ours))
    try:
        return drive(job, ports)
    finally:
        for process in processes:
            process.kill()
            process.join()


if __name__ == "__main__":
    main(run)
