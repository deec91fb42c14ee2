"""pyzmq, PAIR sockets over ipc, into a bare loop: a transport, not an actor system.

Variants: the codec, `msgpack` or `msgspec`.
"""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
import signal
import tempfile
from typing import Any

from bench.messaging.drive import Port, drive
from bench.messaging.job import Counter, Job, Values, reply_to
from bench.messaging.program import main, need

need("zmq")

import msgpack  # noqa: E402 - the check comes first, its message is the better one
import msgspec  # noqa: E402
import zmq  # noqa: E402

_TELL, _ASK, _STAT = range(3)


def codec(name: str) -> tuple[Any, Any]:
    """Encode and decode."""
    if name == "msgspec":
        return msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    return msgpack.packb, msgpack.unpackb


def serve(url: str, want: int, variant: str) -> None:
    """The receiver: a loop, until it is ended."""
    encode, decode = codec(variant)
    socket = zmq.Context().socket(zmq.PAIR)
    socket.set_hwm(0)
    socket.connect(url)
    counter = Counter(want)
    while True:
        verb, received = decode(socket.recv())
        if verb == _STAT:
            socket.send(encode((counter.n, counter.t)))
            continue
        counter(received)
        if verb == _ASK:
            socket.send(encode(reply_to(received)))


def port(socket: Any, variant: str) -> Port:  # noqa: ANN401 - zmq has no types here
    """The sender's end."""
    encode, decode = codec(variant)
    send, receive = socket.send, socket.recv

    def wait() -> Any:  # noqa: ANN401 - a reply
        return decode(receive())

    def ask(asked: Any) -> Any:  # noqa: ANN401 - a message
        send(encode((_ASK, asked)))
        return wait

    def call(asked: Any) -> Any:  # noqa: ANN401 - a message
        send(encode((_ASK, asked)))
        return decode(receive())

    def stat() -> tuple[int, float]:
        send(encode((_STAT, None)))
        handled, last = wait()
        return handled, last

    return Port(lambda told: send(encode((_TELL, told))), call, ask, stat)


def run(job: Job, variant: str) -> Values:
    """Any job between processes."""
    with tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp") as folder:
        urls = [f"ipc://{folder}/{number}" for number in range(job.workers)]
        children: list[int] = []
        for url in urls:
            pid = os.fork()
            if pid == 0:
                serve(url, job.counted, variant)
            children.append(pid)
        context = zmq.Context()
        ports: list[Port] = []
        for url in urls:
            socket = context.socket(zmq.PAIR)
            socket.set_hwm(0)
            socket.bind(url)
            ports.append(port(socket, variant))
        try:
            return drive(job, ports)
        finally:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            context.destroy(linger=0)


if __name__ == "__main__":
    main(run)
