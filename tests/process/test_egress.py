"""The way out by name: a real proxy on a real socket, to servers of this test."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.egress import doors
from understudy.actors.egress.doors import EgressDoors
from understudy.actors.egress.proxy import EgressProxy, Limits, Passage
from understudy.actors.egress.rules import AllowList

LIMIT_S = 10.0
HERE = [ip_network("127.0.0.1/32"), ip_network("::1/128")]
LIMITS = Limits(named=HERE, refusal_s=0.0)


class World:
    """A server that answers with what it gets, and a proxy that leads to it; in one loop."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "egress.sock")
        self.passages: list[Passage] = []
        self.port = 0
        self.accepted = 0
        self.over = asyncio.Event()

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"<end>")
        except OSError:
            pass
        finally:
            writer.close()

    def report(self, passage: Passage) -> None:
        self.passages.append(passage)
        self.over.set()

    async def ask(self, target: str, *, head: bytes | None = None) -> tuple[bytes, Any, Any]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(head or f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
        line = await reader.readline()
        return line, reader, writer

    async def last(self) -> Passage:
        async with asyncio.timeout(LIMIT_S):
            await self.over.wait()
        self.over.clear()
        return self.passages[-1]


def in_world(
    tmp_path: Path,
    story: Callable[[World], Awaitable[None]],
    *hosts: str,
    limits: Limits = LIMITS,
) -> None:
    """Play a story: `{port}` in a host is the server's."""

    async def play() -> None:
        world = World(tmp_path)
        server = await asyncio.start_server(world.echo, "127.0.0.1", 0)
        world.port = server.sockets[0].getsockname()[1]
        named = [host.format(port=world.port) for host in hosts or ("localhost:{port}",)]
        served = EgressProxy("agent_000", AllowList("egress.allow", named), limits, world.report)
        door = await asyncio.start_unix_server(served.handle, world.path, limit=16384)
        async with asyncio.timeout(LIMIT_S), server, door:
            await story(world)
            server.close()
            door.close()

    asyncio.run(play())


def test_bytes_pass_both_ways_to_a_named_host_and_are_counted(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        line, reader, writer = await world.ask(f"localhost:{world.port}")
        assert line == b"HTTP/1.1 200 Connection established\r\n"
        assert await reader.readline() == b"\r\n"
        sent = b"x" * 3_000_000
        writer.write(sent)
        writer.write_eof()
        got = bytearray()
        while piece := await reader.read(65536):
            got += piece
        # The end of one direction is no end of the other, and nothing is lost at the end.
        assert bytes(got) == sent + b"<end>"
        writer.close()
        passage = await world.last()
        assert (passage.sent_bytes, passage.received_bytes) == (3_000_000, 3_000_005)
        assert (str(passage.host), passage.address) == (f"localhost:{world.port}", "127.0.0.1")
        assert passage.refused is None

    in_world(tmp_path, story)


@pytest.mark.parametrize(
    ("target", "status", "says"),
    [
        ("evil.example:443", 403, "egress.allow does not name evil.example:443"),
        ("localhost:1", 403, "egress.allow names localhost with port {port}, not 1"),
        ("127.0.0.1:{port}", 403, "egress.allow does not name 127.0.0.1:{port}"),
        ("2130706433:{port}", 400, "is no host:port"),
        ("localhost", 400, "localhost is no host:port"),
        ("user@localhost:{port}", 400, "is no host:port"),
    ],
)
def test_everything_else_is_refused_with_the_setting_that_would_allow_it(
    tmp_path: Path, target: str, status: int, says: str
) -> None:
    async def story(world: World) -> None:
        line, reader, writer = await world.ask(target.format(port=world.port))
        wanted = says.format(port=world.port)
        assert line.startswith(f"HTTP/1.1 {status} ".encode())
        assert wanted in line.decode()
        assert wanted in (await reader.read()).decode()
        assert wanted in str((await world.last()).refused)
        assert world.accepted == 0
        writer.close()

    in_world(tmp_path, story)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"GET http://localhost/ HTTP/1.1\r\n\r\n", b" 405 only CONNECT passes: use https"),
        (b"hello\r\n\r\n", b" 400 this is no request"),
        (b"CONNECT a.org:443 SMTP/1\r\n\r\n", b" 400 this is no request"),
        (b"CONNECT a.org:443 HTTP/1.1\r\nx: " + b"y" * 70_000, b" 431 the request is over"),
    ],
)
def test_what_is_no_connect_is_refused(tmp_path: Path, head: bytes, says: bytes) -> None:
    async def story(world: World) -> None:
        line, _, writer = await world.ask("", head=head)
        assert says in line
        assert (await world.last()).refused is not None
        writer.close()

    in_world(tmp_path, story)


def test_a_request_that_does_not_arrive_is_not_waited_for(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        line, _, writer = await world.ask("", head=b"CONNECT localh")
        assert b" 408 the request did not arrive within 0.05 s" in line
        writer.close()

    in_world(tmp_path, story, limits=replace(LIMITS, head_s=0.05))


# -- addresses ---------------------------------------------------------------------------------


def test_a_name_that_leads_to_a_private_address_is_refused_unless_that_is_named(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        line, _, writer = await world.ask(f"localhost:{world.port}")
        assert b" 403 localhost leads to " in line
        assert b"egress.allow_addresses does not name it" in line
        assert world.accepted == 0
        writer.close()

    in_world(tmp_path, story, limits=replace(LIMITS, named=()))


def test_an_address_in_the_list_itself_is_named(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        line, _, writer = await world.ask(f"127.0.0.1:{world.port}")
        assert b" 200 " in line
        writer.close()

    in_world(tmp_path, story, "127.0.0.1:{port}", limits=replace(LIMITS, named=()))


def test_the_address_that_was_checked_is_the_one_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [["93.184.215.14"], ["127.0.0.1"], ["127.0.0.1"]]
    connected: list[str] = []

    async def story(world: World) -> None:
        loop = asyncio.get_running_loop()

        async def rebinding(_name: str, port: int, **_options: Any) -> Any:  # noqa: ANN401
            return [(2, 1, 6, "", (address, port)) for address in answers.pop(0)]

        async def no_way(host: str, _port: int, **_options: Any) -> Any:  # noqa: ANN401
            connected.append(host)
            raise OSError(111, "Connection refused")

        monkeypatch.setattr(loop, "getaddrinfo", rebinding)
        monkeypatch.setattr(asyncio, "open_connection", no_way)
        line, _, writer = await world.ask(f"localhost:{world.port}")
        assert b" 502 " in line
        writer.close()
        line, _, writer = await world.ask(f"localhost:{world.port}")
        assert b" 403 localhost leads to 127.0.0.1" in line
        writer.close()

    in_world(tmp_path, story, limits=replace(LIMITS, named=()))
    # Looked up once for each connection, and connected to the number.
    assert (connected, len(answers)) == (["93.184.215.14"], 1)


def test_a_name_that_is_not_allowed_is_not_even_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        def never(*_args: Any, **_options: Any) -> Any:  # noqa: ANN401
            raise AssertionError("a question to a name server carries the name out")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
        line, _, writer = await world.ask("secret.evil.example:443")
        assert b" 403 " in line
        writer.close()

    in_world(tmp_path, story)


# -- limits ------------------------------------------------------------------------------------


def test_a_connection_has_no_more_bytes_than_it_may(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        _, reader, writer = await world.ask(f"localhost:{world.port}")
        writer.write(b"x" * 500_000)
        got = 0
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                got += len(piece)
        assert got < 100_000
        assert (await world.last()).refused == "cut after egress.max_bytes (100000)"
        writer.close()

    in_world(tmp_path, story, limits=replace(LIMITS, max_bytes=100_000))


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (replace(LIMITS, max_s=0.1), "cut after egress.max_time (0.1 s)"),
        (replace(LIMITS, idle_s=0.05), "cut after 0.05 s of silence"),
    ],
)
def test_a_connection_that_lasts_too_long_or_says_nothing_is_cut(
    tmp_path: Path, limits: Limits, says: str
) -> None:
    async def story(world: World) -> None:
        _, reader, writer = await world.ask(f"localhost:{world.port}")
        assert (await world.last()).refused == says
        assert await reader.read() in (b"\r\n", b"")
        writer.close()

    in_world(tmp_path, story, limits=limits)


def test_an_agent_has_no_more_connections_at_once_than_it_may(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first, _, one = await world.ask(f"localhost:{world.port}")
        second, _, two = await world.ask(f"localhost:{world.port}")
        assert b" 200 " in first
        assert b" 503 more than egress.max_connections (1) at once" in second
        two.close()
        await world.last()
        one.close()
        await world.last()
        third, _, three = await world.ask(f"localhost:{world.port}")
        assert b" 200 " in third
        three.close()

    in_world(tmp_path, story, limits=replace(LIMITS, max_connections=1))


def test_connections_far_over_the_limit_are_not_even_kept_for_a_refusal(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first, _, one = await world.ask(f"localhost:{world.port}")
        assert b" 200 " in first
        # This one is told, in a minute.
        reader, two = await asyncio.open_unix_connection(world.path)
        for _ in range(20):
            with contextlib.suppress(OSError):
                line, _, more = await world.ask(f"localhost:{world.port}")
                more.close()
                assert line == b""
        assert not reader.at_eof()
        for writer in (one, two):
            writer.close()

    in_world(tmp_path, story, limits=replace(LIMITS, max_connections=1, refusal_s=60.0))


# -- the doors ---------------------------------------------------------------------------------


def test_each_door_has_a_list_of_its_own_and_all_is_written_down(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    plan = {
        "doors": [
            {"agent_id": "agent_000", "socket_path": str(tmp_path / "a.sock"),
             "setting": "egress.allow", "allow": ["127.0.0.1:9"]},
            {"agent_id": "agent_001", "socket_path": str(tmp_path / "b.sock"),
             "setting": "roles.builder.egress", "allow": ["example.org"]},
        ],
        "allow_addresses": [], "max_connections": 4, "max_bytes": 1000, "max_time_s": 5.0,
        "log": str(tmp_path / "egress.log"),
    }  # fmt: skip

    async def play() -> None:
        made = EgressDoors(plan, told.append, lambda: 7.0)
        await made.open()
        for name in ("a", "b"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / f"{name}.sock"))
            writer.write(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(LIMIT_S):
                await reader.read()
            writer.close()
        # One that is open when all is closed does not hold it up.
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "a.sock"))
        await asyncio.sleep(0)
        await made.close()
        writer.close()

    asyncio.run(play())
    rows = [json.loads(line) for line in (tmp_path / "egress.log").read_text().splitlines()]
    assert [row["agent_id"] for row in rows[:2]] == ["agent_000", "agent_001"]
    assert rows[0]["refused"].startswith("127.0.0.1:9 cannot be reached")
    assert rows[1]["refused"] == "roles.builder.egress does not name 127.0.0.1:9"
    assert told[1] == {"kind": "egress"} | {k: v for k, v in rows[1].items() if k != "at"}
    assert not list(tmp_path.glob("*.sock"))


def test_without_a_plan_there_is_no_socket(tmp_path: Path) -> None:
    async def play() -> None:
        made = EgressDoors({}, print)
        await made.open()
        await made.close()

    asyncio.run(play())
    assert not list(tmp_path.iterdir())


def test_this_machinesown_addresses_are_known() -> None:
    assert "127.0.0.1" in {str(address) for address in doors.own_addresses()}
