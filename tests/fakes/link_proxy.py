"""Stands between two ends of a Unix socket, and does to the bytes what a test says."""

from __future__ import annotations

import random
import select
import socket
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weather:
    """What happens to a connection.

    Attributes:
        piece: bytes passed on at once, at most.
        holds: the directions (0 towards the listener, 1 from it) in which nothing is passed on.
        cut_after: bytes of both directions together after which it ends; the rest is lost.
        cut_way: the direction that is then cut; None is both. The other one lives on.
        delay_s: what every piece comes later.
    """

    piece: int = 1 << 16
    holds: frozenset[int] = frozenset()
    cut_after: int | None = None
    cut_way: int | None = None
    delay_s: float = 0.0


class LinkProxy:
    """Takes the place of a listening socket; what comes is passed on to it, by the weather.

    Args:
        path: of the socket whose place is taken.
        weather: of each connection, in the order they come; the last one goes on for ever.
        seed: of the sizes of the pieces.
    """

    def __init__(self, path: str, weather: list[Weather], seed: int = 0) -> None:
        self.connections = 0
        self._real = f"{path}.real"
        Path(path).rename(self._real)
        self._weather = weather
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._is_closed = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._listener.settimeout(0.02)
        self._threads = [threading.Thread(target=self._accept, name="understudy-proxy")]
        self._threads[0].start()

    def close(self) -> None:
        """Cut all."""
        self._is_closed.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                near = self._listener.accept()[0]
            except TimeoutError:
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._real)
            weather = self._weather[min(self.connections, len(self._weather) - 1)]
            self.connections += 1
            pump = threading.Thread(
                target=self._pump, args=(near, far, weather), name="understudy-proxy-pump"
            )
            self._threads.append(pump)
            pump.start()

    def _pump(self, near: socket.socket, far: socket.socket, weather: Weather) -> None:
        ends = (near, far)
        passed = 0
        dead: set[int] = set()
        with near, far:
            while not self._is_closed.is_set():
                still = weather.holds | dead
                watched = [end for way, end in enumerate(ends) if way not in still]
                for end in select.select(watched, [], [], 0.02)[0]:
                    way = ends.index(end)
                    size = self._random.randint(1, weather.piece)
                    if weather.cut_after is not None:
                        size = min(size, max(0, weather.cut_after - passed))
                    if size == 0 and weather.cut_way is not None:
                        if way == weather.cut_way:
                            dead.add(way)
                            ends[1 - way].shutdown(socket.SHUT_WR)
                            continue
                        size = weather.piece
                    self._is_closed.wait(weather.delay_s)
                    try:
                        data = end.recv(size) if size > 0 else b""
                        if not data:
                            return
                        ends[1 - way].sendall(data)
                    except OSError:
                        return
                    passed += len(data)
