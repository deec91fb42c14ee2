"""Ray on loopback without its dashboard: a driver actor's process, receivers' processes."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import importlib
import os
from collections import deque
from typing import Any

from bench.messaging.job import (
    Counter,
    Job,
    Message,
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

os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    RAY_DISABLE_IMPORT_WARNING="1",
    RAY_DEDUP_LOGS="0",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
)
need("ray")

import ray  # noqa: E402 - it reads the variables above

_JOB_S = 100
_OBJECT_STORE_BYTES = 200 << 20


@ray.remote(num_cpus=0)
class Receiver:
    """Counts what it is told and answers what it is asked."""

    def init(self, want: int) -> int:
        """How many to expect; its process."""
        self.counter = Counter(want)
        return os.getpid()

    def receive(self, received: Message) -> None:
        """Count."""
        self.counter(received)

    def ask(self, received: Message) -> Message:
        """Count, answer."""
        self.counter(received)
        return reply_to(received)

    def stat(self) -> tuple[int, float]:
        """What was handled, and when the last."""
        return self.counter.n, self.counter.t


@ray.remote(num_cpus=0)
class Driver:
    """The sender."""

    def drive(self, text: str, receivers: list[Any]) -> Values:
        """Do the job with these receivers."""
        job = Job.from_json(text)
        ray.get([receiver.init.remote(job.counted) for receiver in receivers])
        kinds = {"tell": tell, "ask": ask, "asks": asks, "fan": fan}
        return kinds[job.kind](job, receivers)


def tell(job: Job, receivers: list[Any]) -> Values:
    """Calls whose results nobody fetches."""
    messages = pool(job)
    began = clock()
    for number in range(job.n):
        receivers[0].receive.remote(messages[number % len(messages)])
    handled, ended = ray.get(receivers[0].stat.remote())
    if handled != job.n:
        raise RuntimeError(f"{job.n} messages were sent, {handled} arrived")
    return told(job, began, ended)


def ask(job: Job, receivers: list[Any]) -> Values:
    """One outstanding."""
    messages = pool(job)
    times: list[float] = []
    for number in range(job.n):
        began = clock()
        ray.get(receivers[0].ask.remote(messages[number % len(messages)]))
        times.append(clock() - began)
    return round_trips(times)


def asks(job: Job, receivers: list[Any]) -> Values:
    """Several outstanding."""
    messages = pool(job)
    waiting: deque[Any] = deque()
    began = clock()
    for number in range(job.n):
        sent = messages[number % len(messages)]
        waiting.append(receivers[number % len(receivers)].ask.remote(sent))
        if len(waiting) >= job.outstanding:
            ray.get(waiting.popleft())
    while waiting:
        ray.get(waiting.popleft())
    return {"per_s": job.n / (clock() - began)}


def fan(job: Job, receivers: list[Any]) -> Values:
    """Rounds of one ask to each."""
    messages = pool(job)
    began = clock()
    for number in range(job.n):
        sent = messages[number % len(messages)]
        ray.get([receiver.ask.remote(sent) for receiver in receivers])
    return {"per_s": job.n * len(receivers) / (clock() - began)}


def remote(kind: Any) -> Any:  # noqa: ANN401 - what the decorator makes of a class has no type
    """A new actor."""
    return kind.remote()


def spawn(job: Job) -> Values:
    """Actors started one after the other; Ray itself runs already."""
    times: list[float] = []
    found: Values = {}
    for _ in range(job.n):
        began = clock()
        receiver = remote(Receiver)
        pid = ray.get(receiver.init.remote(-1))
        ray.get(receiver.ask.remote(message(0)))
        times.append(clock() - began)
        found = started(times, pid)
        ray.kill(receiver)
    return found


def run(job: Job, _variant: str) -> Values:
    """Any job between processes."""
    ray.init(
        num_cpus=2,
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    try:
        if job.kind == "spawn":
            return spawn(job)
        receivers = [remote(Receiver) for _ in range(job.workers)]
        found: Values = ray.get(
            remote(Driver).drive.remote(job.to_json(), receivers), timeout=_JOB_S
        )
        return found
    finally:
        ray.shutdown()


if __name__ == "__main__":
    # Pickled by name, not by value as all of `__main__` is.
    main(importlib.import_module("bench.peers.ray_peer").run)
