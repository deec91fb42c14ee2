"""xoscar with uvloop: a driver actor in a sub-process, receivers in others; plain tell and ask."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
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

need("xoscar")

import xoscar  # noqa: E402 - the check comes first, its message is the better one

_LOOK_S = 0.002


class Receiver(xoscar.Actor):
    """Counts what it is told and answers what it is asked."""

    def __init__(self, want: int) -> None:
        self.counter = Counter(want)

    async def pid(self) -> int:
        """Its process."""
        return os.getpid()

    async def receive(self, received: Message) -> None:
        """Count."""
        self.counter(received)

    async def ask(self, received: Message) -> Message:
        """Count, answer."""
        self.counter(received)
        return reply_to(received)

    async def stat(self) -> tuple[int, float]:
        """What was handled, and when the last."""
        return self.counter.n, self.counter.t


class Driver(xoscar.Actor):
    """The sender."""

    async def drive(self, text: str, addresses: list[str]) -> Values:
        """Make the receivers and do the job with them."""
        job = Job.from_json(text)
        receivers = [
            await xoscar.create_actor(Receiver, job.counted, address=address, uid=f"r{number}")
            for number, address in enumerate(addresses)
        ]
        for receiver in receivers:
            await receiver.pid()
        kinds = {"tell": tell, "ask": ask, "asks": asks, "fan": fan}
        return await kinds[job.kind](job, receivers)


async def tell(job: Job, receivers: list[Any]) -> Values:
    """`await tell` one after the other."""
    messages = pool(job)
    send = receivers[0].receive.tell
    began = clock()
    for number in range(job.n):
        await send(messages[number % len(messages)])
    while True:
        handled, ended = await receivers[0].stat()
        if handled >= job.n:
            return told(job, began, ended)
        await asyncio.sleep(_LOOK_S)


async def ask(job: Job, receivers: list[Any]) -> Values:
    """One outstanding."""
    messages = pool(job)
    times: list[float] = []
    for number in range(job.n):
        began = clock()
        await receivers[0].ask(messages[number % len(messages)])
        times.append(clock() - began)
    return round_trips(times)


async def asks(job: Job, receivers: list[Any]) -> Values:
    """Several outstanding: as many tasks."""
    messages = pool(job)
    numbers = iter(range(job.n))

    async def one_after_the_other() -> None:
        for number in numbers:
            await receivers[number % len(receivers)].ask(messages[number % len(messages)])

    began = clock()
    await asyncio.gather(*[one_after_the_other() for _ in range(job.outstanding)])
    return {"per_s": job.n / (clock() - began)}


async def fan(job: Job, receivers: list[Any]) -> Values:
    """Rounds of one ask to each."""
    messages = pool(job)
    began = clock()
    for number in range(job.n):
        sent = messages[number % len(messages)]
        await asyncio.gather(*[receiver.ask(sent) for receiver in receivers])
    return {"per_s": job.n * len(receivers) / (clock() - began)}


async def spawn(job: Job, actor_pool: Any) -> Values:  # noqa: ANN401 - xoscar has no types
    """A sub-pool (its process) with one actor, until its first reply."""
    times: list[float] = []
    pid = 0
    for number in range(job.n):
        began = clock()
        address = await actor_pool.append_sub_pool()
        receiver = await xoscar.create_actor(Receiver, -1, address=address, uid=f"s{number}")
        await receiver.ask(message(0))
        times.append(clock() - began)
        pid = await receiver.pid()
    return started(times, pid)


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def go(job: Job) -> Values:
    """The job in a pool of processes of its own."""
    actor_pool = await xoscar.create_actor_pool(
        f"127.0.0.1:{free_port()}",
        n_process=0 if job.kind == "spawn" else 1 + job.workers,
        use_uvloop="auto",
    )
    async with actor_pool:
        if job.kind == "spawn":
            return await spawn(job, actor_pool)
        config = await xoscar.get_pool_config(actor_pool.external_address)
        first, *rest = [
            address
            for address in config.get_external_addresses()
            if address != actor_pool.external_address
        ]
        driver = await xoscar.create_actor(Driver, address=first, uid="driver")
        found: Values = await driver.drive(job.to_json(), rest)
        return found


def run(job: Job, _variant: str) -> Values:
    """Any job between processes."""
    logging.disable(logging.WARNING)
    return asyncio.run(go(job))


if __name__ == "__main__":
    # Its sub-processes look classes up by module name, where `__main__` is not this file.
    main(importlib.import_module("bench.peers.xoscar_peer").run)
