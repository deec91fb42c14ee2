"""The sender's side of a job, for every contender whose calls block. Standard library only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.messaging.job import Job, Message, Values, clock, pool, round_trips, told

Wait = Callable[[], object]


@dataclass(frozen=True)
class Port:
    """The ways to one receiver.

    Attributes:
        tell: send a message.
        call: send one and return its reply.
        ask: send one; what it returns waits for the reply.
        stat: how many the receiver has handled, and when the last one was; comes behind all tells.
    """

    tell: Callable[[Message], object]
    call: Callable[[Message], object]
    ask: Callable[[Message], Wait]
    stat: Callable[[], tuple[int, float]]


def drive(job: Job, ports: Sequence[Port]) -> Values:
    """Do the sender's part of a job.

    Raises:
        ValueError: of this kind there is none.
        RuntimeError: messages were lost.
    """
    for port in ports:
        port.stat()
    if job.kind not in _DRIVERS:
        raise ValueError(f"this contender has no job of kind {job.kind!r}")
    return _DRIVERS[job.kind](job, ports)


def _tell(job: Job, ports: Sequence[Port]) -> Values:
    messages = pool(job)
    size = len(messages)
    tell = ports[0].tell
    began = clock()
    for number in range(job.n):
        tell(messages[number % size])
    sent = clock()
    handled, ended = ports[0].stat()
    if handled != job.n:
        raise RuntimeError(f"{job.n} messages were sent, {handled} arrived")
    return {**told(job, began, ended), "sent_per_s": job.n / max(1e-9, sent - began)}


def _ask(job: Job, ports: Sequence[Port]) -> Values:
    messages = pool(job)
    size = len(messages)
    call = ports[0].call
    times: list[float] = []
    for number in range(job.n):
        began = clock()
        call(messages[number % size])
        times.append(clock() - began)
    return round_trips(times)


def _asks(job: Job, ports: Sequence[Port]) -> Values:
    messages = pool(job)
    size = len(messages)
    asks = [port.ask for port in ports]
    waiting: deque[Wait] = deque()
    began = clock()
    for number in range(job.n):
        waiting.append(asks[number % len(asks)](messages[number % size]))
        if len(waiting) >= job.outstanding:
            waiting.popleft()()
    while waiting:
        waiting.popleft()()
    return {"per_s": job.n / (clock() - began)}


def _fan(job: Job, ports: Sequence[Port]) -> Values:
    messages = pool(job)
    size = len(messages)
    asks = [port.ask for port in ports]
    began = clock()
    for number in range(job.n):
        sent = messages[number % size]
        for wait in [ask(sent) for ask in asks]:
            wait()
    return {"per_s": job.n * len(ports) / (clock() - began)}


_DRIVERS = {"tell": _tell, "ask": _ask, "asks": _asks, "fan": _fan}
