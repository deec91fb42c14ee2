"""thespian: a driver actor's process, receivers' processes. Variants: its transport base.

`multiprocUDPBase` is its quickest; its datagrams do not carry 10 KiB.
"""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib
import os
import socket
from typing import Any

from bench.messaging.job import (
    Counter,
    Job,
    Values,
    clock,
    message,
    pool,
    reply_to,
    round_trips,
    started,
    told,
)
from bench.messaging.program import main, need

need("thespian")

from thespian.actors import Actor, ActorExitRequest, ActorSystem  # noqa: E402 - see need

_TELL = -1
# Tells in one go; between two its transport gets to run.
_CHUNK = 100
_JOB_S = 100
_QUIET = {"version": 1, "disable_existing_loggers": True, "root": {"level": "CRITICAL"}}


class Receiver(Actor):
    """Counts what it is told, answers what it is asked."""

    counter = Counter()

    def receiveMessage(self, received: Any, sender: Any) -> None:  # noqa: ANN401, N802 - thespian's
        """First how many to expect, then messages with a number or `_TELL`."""
        if isinstance(received, ActorExitRequest):
            return
        if received[0] == "init":
            self.counter = Counter(received[1])
            self.send(sender, ("ready", os.getpid()))
            return
        number, body = received
        last = self.counter(body)
        if number != _TELL:
            self.send(sender, (number, reply_to(body)))
        elif last:
            self.send(sender, ("ended", self.counter.t))


class Driver(Actor):
    """The sender: each reply, or a message to itself, makes it send the next."""

    def receiveMessage(self, received: Any, sender: Any) -> None:  # noqa: ANN401, N802 - thespian's
        """A job, then what comes of it."""
        if isinstance(received, ActorExitRequest):
            return
        steps = {"go": self._go, "ready": self._ready, "chunk": self._chunk, "ended": self._ended}
        step = steps.get(received[0])
        if step is None:
            self._replied()
        else:
            step(received, sender)

    def _go(self, received: Any, sender: Any) -> None:  # noqa: ANN401
        self.job = Job.from_json(received[1])
        self.boss = sender
        self.messages = pool(self.job)
        self.missing = self.job.workers
        self.receivers = [self.createActor(Receiver) for _ in range(self.job.workers)]
        for receiver in self.receivers:
            self.send(receiver, ("init", self.job.counted))

    def _ready(self, _received: Any, _sender: Any) -> None:  # noqa: ANN401
        self.missing -= 1
        if self.missing:
            return
        self.sent = self.replied = 0
        self.times: list[float] = []
        self.fan = self.job.kind == "fan"
        self.total = self.job.n * (self.job.workers if self.fan else 1)
        self.began = self.asked_at = clock()
        if self.job.kind == "tell":
            self.send(self.myAddress, ("chunk",))
            return
        at_once = self.job.workers if self.fan else self.job.outstanding
        for _ in range(min(at_once, self.total)):
            self._ask()

    def _chunk(self, _received: Any, _sender: Any) -> None:  # noqa: ANN401
        for _ in range(min(_CHUNK, self.job.n - self.sent)):
            body = self.messages[self.sent % len(self.messages)]
            self.send(self.receivers[0], (_TELL, body))
            self.sent += 1
        if self.sent < self.job.n:
            self.send(self.myAddress, ("chunk",))

    def _ended(self, received: Any, _sender: Any) -> None:  # noqa: ANN401
        self.send(self.boss, told(self.job, self.began, received[1]))

    def _ask(self) -> None:
        self.asked_at = clock()
        body = self.messages[self.sent % len(self.messages)]
        self.send(self.receivers[self.sent % len(self.receivers)], (self.sent, body))
        self.sent += 1

    def _replied(self) -> None:
        self.replied += 1
        now = clock()
        if self.job.kind == "ask":
            self.times.append(now - self.asked_at)
        if self.replied == self.total:
            per_s = {"per_s": self.total / (now - self.began)}
            self.send(self.boss, round_trips(self.times) if self.times else per_s)
        elif self.fan and self.replied % self.job.workers == 0:
            for _ in range(self.job.workers):
                self._ask()
        elif not self.fan and self.sent < self.total:
            self._ask()


def spawn(job: Job, system: Any) -> Values:  # noqa: ANN401 - thespian has no types
    """Actors started one after the other, each in its process."""
    times: list[float] = []
    pid = 0
    for _ in range(job.n):
        began = clock()
        receiver = system.createActor(Receiver)
        pid = system.ask(receiver, ("init", -1), _JOB_S)[1]
        system.ask(receiver, (0, message(0)), _JOB_S)
        times.append(clock() - began)
    return started(times, pid)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(job: Job, variant: str) -> Values:
    """Any job between processes."""
    system = ActorSystem(variant, capabilities={"Admin Port": free_port()}, logDefs=_QUIET)
    try:
        if job.kind == "spawn":
            return spawn(job, system)
        driver = system.createActor(Driver)
        found = system.ask(driver, ("go", job.to_json()), _JOB_S)
        if found is None:
            raise TimeoutError(f"no result within {_JOB_S} s")
        return found
    finally:
        system.shutdown()


if __name__ == "__main__":
    # Its processes look classes up by module name, where `__main__` is not this file.
    main(importlib.import_module("bench.peers.thespian_peer").run)
