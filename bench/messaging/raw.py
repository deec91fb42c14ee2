"""The machine's own limit: bytes between two processes, with no codec, no actor, no thread.

`tell` is one send a message; `ask` is ping-pong. What a contender loses to this, it spends itself.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

from bench.messaging.job import Job, Values, clock, round_trips, told
from bench.messaging.program import main

if TYPE_CHECKING:
    from collections.abc import Callable

_MESSAGE_BYTES = 400
_CHUNK = 64 << 10
_LARGE_CHUNK = 1 << 20
_TIME = struct.Struct("d")


def _in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def tell(job: Job) -> Values:
    """One send a message into one process that counts bytes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    size = job.payload_bytes or _MESSAGE_BYTES
    total = job.n * size

    def count() -> None:
        ours.close()
        buffer = bytearray(_LARGE_CHUNK if job.payload_bytes else _CHUNK)
        theirs.send(b"r")
        got = 0
        while got < total:
            got += theirs.recv_into(buffer)
        theirs.sendall(_TIME.pack(clock()))

    pid = _in_child(count)
    theirs.close()
    ours.recv(1)
    data = os.urandom(size)
    send = ours.sendall
    began = clock()
    for _ in range(job.n):
        send(data)
    ended = _TIME.unpack(ours.recv(_TIME.size))[0]
    os.waitpid(pid, 0)
    return told(job, began, ended)


def ask(job: Job) -> Values:
    """A message there and back, both ends block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def echo() -> None:
        ours.close()
        while data := theirs.recv(_CHUNK):
            theirs.send(data)

    pid = _in_child(echo)
    theirs.close()
    data = os.urandom(_MESSAGE_BYTES)
    times: list[float] = []
    for _ in range(job.n):
        began = clock()
        ours.send(data)
        ours.recv(_CHUNK)
        times.append(clock() - began)
    ours.close()
    os.waitpid(pid, 0)
    return round_trips(times)


def run(job: Job, _variant: str) -> Values:
    """Do a job of kind `tell` or `ask`."""
    return {"tell": tell, "ask": ask}[job.kind](job)


if __name__ == "__main__":
    main(run)
