"""Jobs about mailboxes and actors, for any actor with pykka's surface."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pykka

from bench.messaging.actors import COUNTS, FULL, REPLIES, hold_message, stat_message
from bench.messaging.drive import Port, drive
from bench.messaging.job import Job, Values, clock, memory, pool

Ref = pykka.ActorRef[Any]
Start = Callable[..., Ref]
"""Starts an actor as `Counting` is made: want, manner, work_s."""

# Longer than anything here takes; the harness has the limit that counts.
_PATIENCE_S = 300.0
# 10x overload: a receiver that handles about 4,000 messages a second is offered 40,000.
_WORK_S = 0.0002
_OFFERED_PER_S = 40_000
_BURST_S = 0.01
_LOOK_S = 0.5
# Mailboxes and windows fill in the first part; from there on memory has to stay as it is.
_SETTLED_SHARE = 0.3


class Stat(NamedTuple):
    """What a receiver says of itself."""

    handled: int
    last: float
    pid: int
    since_release_s: float


def stat_of(ref: Ref) -> Stat:
    """Ask it; the answer comes behind all that it was told before."""
    found: Any = ref.ask(stat_message(), timeout=_PATIENCE_S)
    return Stat(*found)


def port(ref: Ref) -> Port:
    """The ways to an actor."""

    def stat() -> tuple[int, float]:
        found = stat_of(ref)
        return found.handled, found.last

    return Port(
        tell=ref.tell,
        call=ref.ask,
        ask=lambda message: ref.ask(message, block=False).get,
        stat=stat,
    )


def measure(job: Job, start: Start, full: type[Exception]) -> Values:
    """Do any job but `spawn`.

    Args:
        job: what to do.
        start: starts an actor.
        full: what `tell` raises when the receiver's mailbox has no room.
    """
    if job.kind == "depth":
        return depth(job, start)
    if job.kind == "stop":
        return stop(job, start)
    if job.kind == "actors":
        return actors(job, start)
    if job.kind == "overload":
        return overload(job, start, full)
    manner = COUNTS if job.kind == "tell" else REPLIES
    refs = [start(job.counted, manner) for _ in range(job.workers)]
    return drive(job, [port(ref) for ref in refs])


def depth(job: Job, start: Start) -> Values:
    """Fill a mailbox to a depth while its actor is busy, let it drain, `n` messages in all."""
    messages = pool(job)
    ref = start(-1, COUNTS)
    handled = 0
    took = 0.0
    for number in range(max(1, job.n // job.depth)):
        with tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp") as folder:
            gate = Path(folder, "gate")
            ref.tell(hold_message(gate))
            began = clock()
            for index in range(job.depth):
                ref.tell(messages[index % len(messages)])
            took += clock() - began
            gate.touch()
            # The receiver's own clock: when it looks at the gate is no part of it.
            found = stat_of(ref)
            took += found.since_release_s
            handled = found.handled
        if handled != (number + 1) * job.depth:
            raise RuntimeError(f"{handled} of {(number + 1) * job.depth} messages were handled")
    return {"per_s": handled / took}


def stop(job: Job, start: Start) -> Values:
    """Stop an actor behind a full mailbox: milliseconds until it is stopped."""
    ref = start(-1, COUNTS)
    with tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp") as folder:
        gate = Path(folder, "gate")
        ref.tell(hold_message(gate, job.depth))
        ends = clock() + _PATIENCE_S
        while not gate.with_name(FULL).exists():
            if clock() > ends or not ref.is_alive():
                raise RuntimeError("the actor could not fill its mailbox")
            time.sleep(_BURST_S)
        began = clock()
        gate.touch()
        ref.stop(timeout=_PATIENCE_S)
        took = clock() - began
    if ref.is_alive():
        raise RuntimeError("the actor lives on after it was stopped")
    return {"ms": took * 1e3}


def actors(job: Job, start: Start) -> Values:
    """Start that many actors, tell them `n` messages in turn: what they cost, what they do."""
    messages = pool(job)
    pid = stat_of(start(-1, REPLIES)).pid
    before = memory(pid)["rss_mb"]
    began = clock()
    refs = [start(-1, COUNTS) for _ in range(job.workers)]
    ready = clock()
    for ref in refs:
        stat_of(ref)
    grown = memory(pid)["rss_mb"] - before
    told = clock()
    for number in range(job.n):
        refs[number % len(refs)].tell(messages[number % len(messages)])
    handled = sum(stat_of(ref).handled for ref in refs)
    took = clock() - told
    if handled != job.n:
        raise RuntimeError(f"{handled} of {job.n} messages were handled")
    return {
        "per_s": job.n / took,
        "start_us": (ready - began) / job.workers * 1e6,
        "kb_each": grown * 1e3 / job.workers,
    }


def overload(job: Job, start: Start, full: type[Exception]) -> Values:
    """Ten times what the receiver can handle, for so many seconds; then wait for what it took."""
    ref = start(-1, COUNTS, _WORK_S)
    pids = {os.getpid(), stat_of(ref).pid}
    accepted, rejected, held = offer(job, ref, full, pids)
    settled = held[int(len(held) * _SETTLED_SHARE) :]
    began = clock()
    handled = stat_of(ref).handled
    return {
        "growth_mb": max(settled) - settled[0],
        "peak_mb": max(held),
        "lost": float(accepted - handled),
        "accepted_per_s": accepted / job.seconds,
        "rejected": float(rejected),
        "drain_s": clock() - began,
    }


def offer(
    job: Job, ref: Ref, full: type[Exception], pids: set[int]
) -> tuple[int, int, list[float]]:
    """Tell at ten times the rate; how many were accepted and rejected, the memory now and then."""
    messages = pool(job)
    accepted = rejected = 0
    held: list[float] = []
    began = looked = clock()
    while (now := clock()) < began + job.seconds:
        due = int((now - began) * _OFFERED_PER_S)
        # Who was held back by the receiver does not catch up: the offer is a rate.
        behind = min(due - accepted - rejected, int(2 * _BURST_S * _OFFERED_PER_S))
        for number in range(behind):
            try:
                ref.tell(messages[number % len(messages)])
                accepted += 1
            except full:
                rejected += 1
        if now >= looked:
            looked += _LOOK_S
            held.append(sum(memory(pid)["rss_mb"] for pid in pids))
        time.sleep(_BURST_S)
    return accepted, rejected, held
