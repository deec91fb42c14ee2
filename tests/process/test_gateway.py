"""The gateway on real sockets, between a free client and an upstream that does its worst."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import os
import socket
import stat
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from understudy.actors.gateway import Credentials
from understudy.actors.gateway.app import AgentApp
from understudy.actors.gateway.client import UpstreamClient
from understudy.actors.gateway.desk import Desk, DeskPlan, make_desk
from understudy.actors.gateway.doors import Doors
from understudy.actors.gateway.prices import load_prices
from understudy.actors.gateway.sockets import UnixListener
from understudy.transport import SocketInUse, SocketPathTooLong, SocketPathUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path

CANARY = "sk-canary-0123456789"
LIMIT_S = 20.0
OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 84\r\n\r\n"
    b'{"type":"message","model":"m","usage":{"input_tokens":3,"output_tokens":4}         }\n'
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"model":"m",'
    b'"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass
class Request:
    """What the upstream got."""

    line: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
        await self.writer.drain()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def answer_ok(request: Request) -> None:
    await request.say(OK)


@dataclass
class Rig:
    """One gateway with one agent, and its upstream."""

    answer: Callable[[Request], Awaitable[None]] = answer_ok
    requests: list[Request] = field(default_factory=list[Request])
    connections: int = 0
    reports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reported: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    path: str = ""
    session: aiohttp.ClientSession = field(init=False)
    desk: Desk = field(init=False)

    def post(self, **options: Any) -> Any:  # noqa: ANN401 - aiohttp's own context manager
        options.setdefault("json", {"model": "m"})
        return self.session.post("http://localhost/v1/messages?beta=true", **options)

    def report(self, usage: dict[str, Any]) -> None:
        self.reports.append(usage)
        self.reported.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await read_request(reader, writer)
                self.requests.append(request)
                await self.answer(request)
        writer.close()


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *rest = head.strip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)
    }
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(line, headers, body, reader, writer)


@contextlib.asynccontextmanager
async def rig(
    folder: Path, answer: Callable[[Request], Awaitable[None]] = answer_ok, **limits: float
) -> AsyncGenerator[Rig]:
    made = Rig(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    made.path = str(folder / "a" / "api.sock")
    upstream = UpstreamClient(made.url, {}, **limits)
    # Nothing is held and nothing tried again: the faults themselves are looked at here.
    plan = DeskPlan(folder / "ledger.db", "test", load_prices(), max_wait_s=0.0)
    desk = make_desk(plan, upstream, Credentials("api_key", CANARY), made.report)
    made.desk = desk
    doors = Doors(desk)
    await doors.open("agent_000", made.path)
    made.session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(made.path))
    try:
        yield made
    finally:
        await made.session.close()
        await doors.close_all()
        desk.gate.close()
        desk.accounts.close()
        await upstream.close()
        server.close()
        for request in made.requests:
            request.writer.close()
    assert not os.path.exists(made.path)  # noqa: ASYNC240, PTH110 - nothing else runs by now


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, LIMIT_S))


# -- what passes -------------------------------------------------------------------------------


def test_the_first_piece_arrives_before_the_second_is_sent(tmp_path: Path) -> None:
    async def scene() -> None:
        seen_head, seen_first = asyncio.Event(), asyncio.Event()

        async def answer(request: Request) -> None:
            await request.say(STREAM_HEAD)
            await seen_head.wait()
            await request.say(chunk(b"first"))
            await seen_first.wait()
            await request.say(chunk(b"second"), b"0\r\n\r\n")

        async with rig(tmp_path, answer) as gateway, gateway.post() as response:
            assert response.status == 200
            seen_head.set()
            assert await response.content.readany() == b"first"
            seen_first.set()
            assert await response.content.read() == b"second"

    run(scene())


def test_the_real_key_goes_up_and_never_comes_down(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rig(tmp_path) as gateway:
            placeholder = {"x-api-key": "placeholder", "authorization": "Bearer placeholder"}
            async with gateway.post(headers=placeholder) as response:
                body = await response.read()
        (request,) = gateway.requests
        assert request.line == "POST /v1/messages?beta=true HTTP/1.1"
        assert request.headers["x-api-key"] == CANARY
        assert "placeholder" not in str(request.headers)
        assert request.headers["host"] == gateway.url.removeprefix("http://")
        assert CANARY not in f"{response.headers} {body!r} {gateway.reports}"

    run(scene())


def test_a_large_body_arrives_whole(tmp_path: Path) -> None:
    async def scene() -> None:
        body = json.dumps({"x": os.urandom(2_500_000).hex()}, separators=(",", ":")).encode()
        async with rig(tmp_path) as gateway:
            async with gateway.post(json=None, data=io.BytesIO(body)) as response:
                assert response.status == 200
            assert gateway.requests[0].body == body

    run(scene())


def test_connections_are_kept_on_both_sides(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rig(tmp_path) as gateway:
            for _ in range(3):
                async with gateway.post() as response:
                    await response.read()
            assert gateway.connections == 1
            assert len(gateway.requests) == 3

    run(scene())


def test_an_error_of_the_api_passes_as_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async def answer(request: Request) -> None:
            await request.say(b"HTTP/1.1 429 Slow\r\nRetry-After: 2\r\nSet-Cookie: a=b\r\n")
            await request.say(b"Content-Length: 2\r\n\r\n{}")

        async with rig(tmp_path, answer) as gateway, gateway.post() as response:
            assert (response.status, response.headers["retry-after"]) == (429, "2")
            assert "set-cookie" not in response.headers
            assert await response.read() == b"{}"
        assert [report["status"] for report in gateway.reports] == [429]

    run(scene())


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /", 404),
        ("HEAD /", 404),
        ("GET /v1/messages", 403),
        ("DELETE /v1/messages", 403),
        ("POST /v1/files", 403),
        ("POST /v1/messages/batches", 403),
        ("POST /v1/messages/../files", 403),
        ("POST /v1/messages%2f..%2ffiles", 403),
        ("POST //v1/messages", 403),
        ("GET /v1/organizations/me", 403),
        ("POST http://169.254.169.254/latest", 403),
    ],
)
def test_what_an_agent_has_no_need_of_is_refused_and_not_sent(
    tmp_path: Path, line: str, status: int
) -> None:
    async def scene() -> None:
        async with rig(tmp_path) as gateway:
            reader, writer = await asyncio.open_unix_connection(gateway.path)
            writer.write(f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith(f"HTTP/1.1 {status} ")
            assert "application/json" in head
            writer.close()
            assert gateway.requests == []

    run(scene())


def test_a_spelling_of_an_allowed_path_goes_up_in_its_plain_form(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rig(tmp_path) as gateway:
            reader, writer = await asyncio.open_unix_connection(gateway.path)
            line = b"POST http://elsewhere/v1/%6Dessages?a=%2e%2e HTTP/1.1\r\n"
            writer.write(line + b"Host: elsewhere\r\nContent-Length: 2\r\n\r\n{}")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            assert gateway.requests[0].line == "POST /v1/messages?a=%2e%2e HTTP/1.1"
            assert "elsewhere" not in str(gateway.requests[0].headers)

    run(scene())


@pytest.mark.parametrize("path", ["messages", "messages/count_tokens"])
def test_a_request_that_would_have_the_api_reach_out_is_refused_and_not_sent(
    tmp_path: Path, path: str
) -> None:
    async def scene() -> None:
        async with rig(tmp_path) as gateway:
            body = {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}
            url = f"http://localhost/v1/{path}"
            async with gateway.session.post(url, json=body) as response:
                assert response.status == 403
                assert "web_fetch_20250910" in await response.text()
            assert not gateway.requests

    run(scene())


@pytest.mark.parametrize("path", ["messages", "messages/count_tokens"])
def test_a_request_of_too_many_parts_is_refused_and_not_sent(tmp_path: Path, path: str) -> None:
    async def scene() -> None:
        async with rig(tmp_path) as gateway:
            body = b'{"messages":[' + b"{}," * 300_000 + b"{}]}"
            async with gateway.session.post(f"http://localhost/v1/{path}", data=body) as response:
                assert response.status == 413
                error = (await response.json())["error"]
                assert error["type"] == "request_too_large"
                assert "300003 opening brackets" in error["message"]
            assert not gateway.requests

    run(scene())


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_over_the_limit_is_refused(tmp_path: Path, has_length: bool) -> None:
    async def scene() -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 100

        async with rig(tmp_path) as gateway:
            app = AgentApp("a", gateway.desk, max_body_bytes=1000)
            async with small_server(app, tmp_path) as session:
                data = b"x" * 2000 if has_length else pieces()
                async with session.post("http://localhost/v1/messages", data=data) as response:
                    assert response.status == 413
                    error = (await response.json())["error"]
                    assert error["type"] == "request_too_large"
            assert gateway.reports == []

    run(scene())


@contextlib.asynccontextmanager
async def small_server(app: AgentApp, folder: Path) -> AsyncGenerator[aiohttp.ClientSession]:
    runner = web.ServerRunner(web.Server(app.handle))
    await runner.setup()
    path = str(folder / "small.sock")
    await web.UnixSite(runner, path).start()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        yield session
    await runner.cleanup()


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async def scene() -> None:
        async def answer(request: Request) -> None:
            head = b"HTTP/1.1 302 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
            await request.say(head if len(gateway.requests) == 1 else OK)

        async with rig(tmp_path, answer) as gateway:
            async with gateway.post() as response:
                assert response.status == 502
                assert "redirect" in (await response.json())["error"]["message"]
                assert "location" not in response.headers
            assert len(gateway.requests) == 1

    run(scene())


# -- what breaks -------------------------------------------------------------------------------


async def expect_error(gateway: Rig, status: int, kind: str) -> str:
    async with gateway.post() as response:
        error = (await response.json())["error"]
        assert (response.status, error["type"]) == (status, kind)
        assert CANARY not in str(error)
        return str(error["message"])


def test_a_refused_connection_is_an_error_of_the_api_that_says_whom(tmp_path: Path) -> None:
    async def scene() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            async with rig(tmp_path) as gateway:
                upstream = UpstreamClient(url, {})
                doors = Doors(dataclasses.replace(gateway.desk, upstream=upstream))
                await doors.open("b", str(tmp_path / "b.sock"))
                async with aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(str(tmp_path / "b.sock"))
                ) as session:
                    gateway.session, kept = session, gateway.session
                    message = await expect_error(gateway, 502, "api_error")
                    gateway.session = kept
                assert url in message
                assert [each["status"] for each in gateway.reports] == [502]
                await doors.close_all()
                await upstream.close()

    run(scene())


def test_a_reset_before_the_answer_is_an_error_of_the_api(tmp_path: Path) -> None:
    async def scene() -> None:
        async def answer(request: Request) -> None:
            request.reset()

        async with rig(tmp_path, answer) as gateway:
            await expect_error(gateway, 502, "api_error")

    run(scene())


def test_an_upstream_that_keeps_silent_is_a_timeout(tmp_path: Path) -> None:
    async def scene() -> None:
        async def answer(request: Request) -> None:
            await request.reader.read()

        async with rig(tmp_path, answer, silence_timeout_s=0.05) as gateway:
            await expect_error(gateway, 504, "timeout_error")

    run(scene())


@pytest.mark.parametrize("how", ["reset", "close", "silence"])
def test_a_stream_that_is_cut_is_cut_for_the_agent_too_and_counted(
    tmp_path: Path, how: str
) -> None:
    async def scene() -> None:
        got_piece = asyncio.Event()

        async def answer(request: Request) -> None:
            await request.say(STREAM_HEAD, chunk(START))
            await got_piece.wait()
            if how == "reset":
                request.reset()
            elif how == "close":
                request.writer.close()
            else:
                await request.reader.read()

        async with rig(tmp_path, answer, silence_timeout_s=0.3) as gateway:
            async with gateway.post() as response:
                assert await response.content.readany() == START
                got_piece.set()
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.content.read()
            assert gateway.reports == [
                {
                    "kind": "usage",
                    "agent_id": "agent_000",
                    "task_id": None,
                    "requests": 1,
                    "input_tokens": 9,
                    "output_tokens": 1,
                    "cache_read_input_tokens": 0,
                    "cache_creation_input_tokens": 0,
                    "cache_creation_1h_input_tokens": 0,
                    "model": "m",
                    "dollars": None,
                    "status": 200,
                    "complete": False,
                }
            ]

    run(scene())


def test_an_agent_that_hangs_up_ends_the_request_upstream_and_is_counted(tmp_path: Path) -> None:
    async def scene() -> None:
        upstream_closed = asyncio.Event()

        async def answer(request: Request) -> None:
            await request.say(STREAM_HEAD, chunk(START))
            await request.reader.read()
            upstream_closed.set()

        async with rig(tmp_path, answer) as gateway:
            response = await gateway.post().__aenter__()
            assert await response.content.readany() == START
            response.close()
            await upstream_closed.wait()
            await gateway.reported.wait()
            assert gateway.reports[0]["input_tokens"] == 9

    run(scene())


def test_closing_the_gateway_cuts_what_still_streams(tmp_path: Path) -> None:
    async def scene() -> None:
        async def answer(request: Request) -> None:
            await request.say(STREAM_HEAD, chunk(START))
            await request.reader.read()

        async with rig(tmp_path, answer) as gateway:
            response = await gateway.post().__aenter__()
            await response.content.readany()
        response.close()

    run(scene())


# -- what is counted ---------------------------------------------------------------------------


def test_an_answer_in_one_piece_is_counted(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rig(tmp_path) as gateway:
            async with gateway.post() as response:
                await response.read()
            (report,) = gateway.reports
            assert (report["input_tokens"], report["output_tokens"]) == (3, 4)
            assert report["complete"]

    run(scene())


def test_counting_tokens_costs_nothing_and_is_not_reported(tmp_path: Path) -> None:
    async def scene() -> None:
        async with rig(tmp_path) as gateway:
            url = "http://localhost/v1/messages/count_tokens?beta=true"
            async with gateway.session.post(url, json={}) as response:
                assert response.status == 200
            assert gateway.requests[0].line == "POST /v1/messages/count_tokens?beta=true HTTP/1.1"
            assert gateway.reports == []

    run(scene())


# -- the socket --------------------------------------------------------------------------------


def test_the_socket_is_open_to_the_containers_user(tmp_path: Path) -> None:
    listener = UnixListener(str(tmp_path / "new" / "s"))
    assert stat.S_IMODE((tmp_path / "new" / "s").stat().st_mode) == 0o666
    listener.close()
    assert not (tmp_path / "new" / "s").exists()


def test_a_dead_gateways_socket_is_replaced_and_a_living_ones_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    living = UnixListener(path)
    with pytest.raises(SocketInUse):
        UnixListener(path)
    living.close()


def test_closing_leaves_another_ones_socket_at_the_path(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = UnixListener(str(path))
    path.rename(tmp_path / "aside")
    second = UnixListener(str(path))
    first.close()
    assert path.exists()
    second.close()


def test_a_path_that_cannot_be_a_socket_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SocketPathTooLong, match="108"):
        UnixListener("/" + "x" * 107)
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SocketPathUnusable):
            UnixListener(str(path))
    assert (tmp_path / "file").read_text() == "kept"
