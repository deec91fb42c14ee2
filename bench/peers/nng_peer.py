"""pynng, Pair0 over ipc, into a bare loop with msgpack: a transport, not an actor system."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import os
import signal
import tempfile
from typing import Any

from bench.messaging.drive import Port, drive
from bench.messaging.job import Counter, Job, Values, reply_to
from bench.messaging.program import main, need

_TELL, _ASK, _STAT = range(3)


def serve(url: str, want: int, bound: int) -> None:
    """The receiver: a loop, until it is ended. It dials when the other end listens."""
    os.read(bound, 1)
    import msgpack  # noqa: PLC0415 - see run
    import pynng  # noqa: PLC0415

    socket = pynng.Pair0(dial=url, recv_max_size=0)
    counter = Counter(want)
    while True:
        verb, received = msgpack.unpackb(socket.recv())
        if verb == _STAT:
            socket.send(msgpack.packb((counter.n, counter.t)))
            continue
        counter(received)
        if verb == _ASK:
            socket.send(msgpack.packb(reply_to(received)))


def port(socket: Any) -> Port:  # noqa: ANN401 - pynng has no types
    """The sender's end."""
    import msgpack  # noqa: PLC0415 - see run

    encode, decode = msgpack.packb, msgpack.unpackb
    send, receive = socket.send, socket.recv

    def wait() -> Any:  # noqa: ANN401 - a reply
        return decode(receive())

    def ask(asked: Any) -> Any:  # noqa: ANN401 - a message
        send(encode((_ASK, asked)))
        return wait

    def stat() -> tuple[int, float]:
        send(encode((_STAT, None)))
        handled, last = wait()
        return handled, last

    return Port(lambda told: send(encode((_TELL, told))), lambda asked: ask(asked)(), ask, stat)


def run(job: Job, _variant: str) -> Values:
    """Any job between processes. nng's threads do not survive a fork: it is imported behind it."""
    with tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp") as folder:
        urls = [f"ipc://{folder}/{number}" for number in range(job.workers)]
        bound, announce = os.pipe()
        children: list[int] = []
        for url in urls:
            pid = os.fork()
            if pid == 0:
                serve(url, job.counted, bound)
            children.append(pid)
        need("pynng")
        import pynng  # noqa: PLC0415 - behind the forks

        ports = [port(pynng.Pair0(listen=url, recv_max_size=0)) for url in urls]
        os.write(announce, b"x" * len(urls))
        try:
            return drive(job, ports)
        finally:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main(run)
