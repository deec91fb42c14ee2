"""The near end of the way out: runs in the container, and needs nothing there but Python.

    python3 -c <this file> PORT SOCKET COMMAND…

curl, git, pip and npm speak to a proxy by TCP. A process of its own listens on the container's
loopback and carries every connection to the Unix socket; then this one becomes the command, with
its process number and its pipes.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_CHUNK_BYTES = 64 << 10


def main(port: int, path: str, command: list[str]) -> None:
    """Have the port carried to the socket, and become the command."""
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            _let_go_of_the_pipes()
            _serve(listener, path)
        os._exit(0)
    # What carries is the init's child, not the command's: that one may wait for all of its own.
    os.waitpid(child, 0)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the words are ours
    except OSError as error:
        # As the container's own init says it.
        sys.exit(f"exec {command[0]} failed: {error.strerror}")


def _let_go_of_the_pipes() -> None:
    """Hold none of them: the command's end must be seen at their other ends."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)


def _serve(listener: socket.socket, path: str) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(path)
        except OSError:  # the gateway is being started again
            near.close()
            far.close()
            continue
        for ends in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # Neither direction goes on without the other.
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
