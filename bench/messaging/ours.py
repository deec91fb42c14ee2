"""Our own actors, through the public names alone.

Variants: none is a root program and actors in processes of their own; `peers` has the sender in an
actor process too, as xoscar, thespian and ray are measured; `local` is one process; `msgpack` is
the first with the wire format written and read by the msgpack package alone.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from bench.messaging import our_actors
from bench.messaging.actors import COUNTS, REPLIES
from bench.messaging.job import Job, Values, clock, message, started
from bench.messaging.local import measure, stat_of
from bench.messaging.our_actors import DeepReceiver, Driver, Receiver
from bench.messaging.program import main
from understudy import ActorSystem, MailboxFull

if TYPE_CHECKING:
    from understudy.transport.wire import CodecName

_JOB_S = 300.0


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
    # As a program would whose actors import much: their module is imported once, not by each.
    codec: CodecName = "msgpack" if variant == "msgpack" else "msgspec"
    name = f"bench-{os.getpid()}"
    with ActorSystem(name, preload=[our_actors.__name__], codec=codec) as system:
        if job.kind == "spawn":
            return spawn(job, system)
        if variant == "peers":
            return from_a_process(job, system)
        kind = DeepReceiver if job.depth or job.kind == "tell" else Receiver
        start = partial(system.spawn, kind, process=variant != "local")
        return measure(job, start, MailboxFull)


if __name__ == "__main__":
    main(run)
