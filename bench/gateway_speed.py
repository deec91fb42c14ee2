"""What the gateway itself costs: time to the first byte, bytes a second, memory.

Three processes, as in the fleet: an upstream that answers at once, the gateway with a socket for
each agent and its ledger on disk, and here the clients. `direct` is the same without the gateway.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import select
import socket
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from understudy.actors.gateway import Credentials
from understudy.actors.gateway.client import UpstreamClient
from understudy.actors.gateway.desk import DeskPlan, make_desk
from understudy.actors.gateway.doors import Doors
from understudy.actors.gateway.prices import load_prices

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.context import SpawnProcess

_BODY = b'{"model":"claude-sonnet-4-5","stream":true,"max_tokens":9,"messages":[]}' + b" " * 20_000
_START = b'data: {"type":"message_start","message":{"model":"m","usage":{"input_tokens":1}}}\n\n'
_DELTA = b'data: {"type":"content_block_delta","delta":{"text":"%s"}}\n\n'
_STOP = (
    b'data: {"type":"message_delta","usage":{"output_tokens":1}}\n\n'
    b'data: {"type":"message_stop"}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_READY_S = 20.0
_WARM_UP = 50
_SPAWN = multiprocessing.get_context("spawn")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _serve_one(connection: socket.socket, size_bytes: int, pause_s: float) -> None:
    """Answer requests with a stream of that size; with a pause, one piece at a time for ever."""
    with connection:
        piece = _chunk(_DELTA % (b"x" * (60 if pause_s else 16_000)))
        while _took_request(connection):
            connection.sendall(_HEAD + _chunk(_START))
            sent = 0
            while sent < size_bytes:
                connection.sendall(piece)
                sent += len(piece)
                time.sleep(pause_s)
            connection.sendall(_chunk(_STOP) + b"0\r\n\r\n")


def _took_request(connection: socket.socket) -> bool:
    got = b""
    while b"\r\n\r\n" not in got:
        if not (data := connection.recv(1 << 16)):
            return False
        got += data
    head, _, body = got.partition(b"\r\n\r\n")
    (length,) = (
        int(line[15:])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(1 << 16)
    return True


def _upstream(path: str, size_bytes: int, pause_s: float) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    while True:
        connection, _ = listener.accept()
        threading.Thread(
            target=_serve_one, args=(connection, size_bytes, pause_s), daemon=True
        ).start()


async def _gateway(folder: str, agents: int) -> None:
    upstream = UpstreamClient(f"unix:{folder}/up.sock", {})
    plan = DeskPlan(Path(folder) / "ledger.db", "bench", load_prices())
    desk = make_desk(plan, upstream, Credentials("api_key", "bench"), lambda _report: None)
    doors = Doors(desk)
    for number in range(agents):
        await doors.open(f"agent_{number:03d}", f"{folder}/{number}.sock")
    await asyncio.Event().wait()


def _run_gateway(folder: str, agents: int) -> None:
    asyncio.run(_gateway(folder, agents))


@contextmanager
def _both(
    agents: int, size_bytes: int, pause_s: float = 0.0
) -> Generator[tuple[str, SpawnProcess]]:
    """An upstream and a gateway, each in a process of its own; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp") as folder:
        processes = [
            _SPAWN.Process(target=_upstream, args=(f"{folder}/up.sock", size_bytes, pause_s)),
            _SPAWN.Process(target=_run_gateway, args=(folder, agents)),
        ]
        for process in processes:
            process.start()
        try:
            last = f"{folder}/{agents - 1}.sock"
            _until(lambda: _listens(last) and _listens(f"{folder}/up.sock"))
            yield folder, processes[1]
        finally:
            for process in processes:
                process.kill()
                process.join()


def _until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + _READY_S
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"not ready within {_READY_S:g} s")
        time.sleep(0.01)


def _listens(path: str) -> bool:
    # The path is there a moment before anybody listens.
    try:
        _connect(path).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def _ask(connection: socket.socket) -> None:
    head = (
        b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(_BODY)
    )
    connection.sendall(head + _BODY)


def _first_byte_s(connection: socket.socket) -> float:
    asked = time.perf_counter()
    _ask(connection)
    got = connection.recv(1 << 16)
    first_s = time.perf_counter() - asked
    while not got.endswith(b"0\r\n\r\n"):
        got = got[-8:] + connection.recv(1 << 16)
    return first_s


def first_byte(requests: int) -> dict[str, Any]:
    """What the gateway adds until the first byte of an answer; both ways by turns."""
    took: dict[str, list[float]] = {"direct": [], "gateway": []}
    with _both(1, 1) as (folder, _):
        ways = {"direct": _connect(f"{folder}/up.sock"), "gateway": _connect(f"{folder}/0.sock")}
        for number in range(requests + _WARM_UP):
            for name, connection in ways.items():
                first_s = _first_byte_s(connection)
                if number >= _WARM_UP:
                    took[name].append(first_s)
        for connection in ways.values():
            connection.close()
    shown = {name: _percentiles(values) for name, values in took.items()}
    added = {
        f"added_{p}_ms": round(shown["gateway"][p] - shown["direct"][p], 3) for p in ("p50", "p99")
    }
    return {"what": "first byte", "requests": requests, **added, "ms": shown}


def _percentiles(values_s: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values_s, n=100)
    return {"p50": round(cuts[49] * 1e3, 3), "p99": round(cuts[98] * 1e3, 3)}


def throughput(size_bytes: int) -> dict[str, Any]:
    """One stream of events of 16 KB each, as fast as it goes."""
    rates: dict[str, float] = {}
    with _both(1, size_bytes) as (folder, _):
        for name, path in (("direct", "up.sock"), ("gateway", "0.sock")):
            with _connect(f"{folder}/{path}") as connection:
                rates[name] = _rate(connection)
    return {"what": "throughput", "mb": size_bytes // 10**6, "mb_per_s": rates}


def _rate(connection: socket.socket) -> float:
    begun = time.perf_counter()
    _ask(connection)
    got, last = 0, b""
    while not last.endswith(b"0\r\n\r\n"):
        data = connection.recv(1 << 20)
        got += len(data)
        last = last[-8:] + data[-64:]
    return round(got / 1e6 / (time.perf_counter() - begun), 1)


def memory(agents: int, seconds: float) -> dict[str, Any]:
    """That many agents with a slow stream each, at once: the gateway's memory at its highest."""
    with _both(agents, 1 << 40, pause_s=0.02) as (folder, gateway):
        process = psutil.Process(gateway.pid or 0)
        idle = process.memory_full_info().pss
        connections = [_connect(f"{folder}/{number}.sock") for number in range(agents)]
        for connection in connections:
            _ask(connection)
        most, heard, ends = 0, set[socket.socket](), time.monotonic() + seconds
        while time.monotonic() < ends:
            for connection in select.select(connections, [], [], 0.1)[0]:
                connection.recv(1 << 16)
                heard.add(connection)
            most = max(most, process.memory_full_info().pss)
        for connection in connections:
            connection.close()
    megabytes = {"idle": round(idle / 1e6, 1), "streaming": round(most / 1e6, 1)}
    return {"what": "memory", "agents": agents, "streaming": len(heard), "pss_mb": megabytes}
