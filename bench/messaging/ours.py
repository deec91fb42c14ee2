"""Our own actors, through the public names alone.

Variants: none is a root program and actors in processes of their own; `peers` has the sender in an
actor process too, as xoscar, thespian and ray are measured; `local` is one process.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, cast

from bench.messaging.actors import COUNTS, REPLIES, Counting
from bench.messaging.drive import drive
from bench.messaging.job import Job, Message, Values, clock, message, started
from bench.messaging.local import measure, port, stat_of
from bench.messaging.program import main
from understudy import Actor, ActorSystem, MailboxFull, MailboxSpec

_DEEP = 200_000
_DEEP_BYTES = 1 << 30
_JOB_S = 300.0


class Receiver(Counting, Actor):
    """A measured actor of ours."""


class DeepReceiver(Counting, Actor):
    """The same with a mailbox for more than is put into it."""

    mailbox = MailboxSpec(max_messages=_DEEP, max_bytes=_DEEP_BYTES)


class Driver(Actor):
    """The sender as an actor."""

    def on_receive(self, message: Message) -> Any:  # noqa: ANN401 - pykka's signature
        """Do the sender's part of a job with the receivers that came with it."""
        return drive(Job.from_json(message["job"]), [port(ref) for ref in message["receivers"]])


def spawn(job: Job, system: ActorSystem) -> Values:
    """Actor processes started one after the other."""
    system.spawn(Receiver, -1, REPLIES, process=True).ask(message(0))
    times: list[float] = []
    found: Values = {}
    for _ in range(job.n):
        began = clock()
        ref = system.spawn(Receiver, -1, REPLIES, process=True)
        ref.ask(message(0))
        times.append(clock() - began)
        found = started(times, stat_of(ref).pid)
        ref.stop()
    return found


def from_a_process(job: Job, system: ActorSystem) -> Values:
    """The job with the sender in an actor process."""
    manner = COUNTS if job.kind == "tell" else REPLIES
    receivers = [
        system.spawn(Receiver, job.counted, manner, process=True) for _ in range(job.workers)
    ]
    driver = system.spawn(Driver, process=True)
    sent = {"type": "drive", "job": job.to_json(), "receivers": receivers}
    found: Any = driver.ask(sent, timeout=_JOB_S)
    return cast("Values", found)


def run(job: Job, variant: str) -> Values:
    """Any job."""
    with ActorSystem(f"bench-{os.getpid()}") as system:
        if job.kind == "spawn":
            return spawn(job, system)
        if variant == "peers":
            return from_a_process(job, system)
        kind = DeepReceiver if job.depth or job.kind == "tell" else Receiver
        start = partial(system.spawn, kind, process=variant != "local")
        return measure(job, start, MailboxFull)


if __name__ == "__main__":
    main(run)
