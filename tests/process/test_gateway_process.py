"""The gateway and the scripted model as supervised children, on a real bus."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from understudy.supervision import (
    Backoff,
    ChildEvent,
    ChildSpec,
    ForkServer,
    Strategy,
    Supervisor,
    SupervisorSpec,
)
from understudy.transport import Agent2AgentProtocol, AgentMessage, MessageType, UnixSocketChannel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "sk-canary-0123456789"
LIMIT_S = 20.0


class Services:
    """A supervisor of the services, and what is heard from them."""

    def __init__(self, folder: Path, forks: ForkServer) -> None:
        self.folder = folder
        self._events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
        spec = SupervisorSpec("services", Strategy.ONE_FOR_ONE, intensity=50)
        self._supervisor = Supervisor.start(spec, forks, self._events.put)
        self.bus = UnixSocketChannel(folder / "bus.sock", is_server=True)
        self.orchestrator = Agent2AgentProtocol("orchestrator", self.bus)

    def add(self, child_id: str, target: str, **args: Any) -> None:  # noqa: ANN401 - plain data
        spec = ChildSpec(
            child_id,
            target,
            args,
            shutdown_s=5.0,
            start_timeout_s=LIMIT_S,
            backoff=Backoff(min_s=0.01, max_s=0.02),
            liveness_interval_s=5.0,
        )
        self._supervisor.proxy().add_child(spec).get(timeout=LIMIT_S)

    def add_model(self) -> str:
        self.add("model", "understudy.fakeapi.process:main", unix=str(self.folder / "model.sock"))
        url: str = self.wait("model", "ready").info["url"]
        return url

    def add_gateway(self, upstream: str, agents: dict[str, str], key: str = CANARY) -> None:
        self.add(
            "gateway",
            "understudy.actors.gateway.process:main",
            upstream=upstream,
            credentials={"kind": "api_key", "value": key},
            agents=agents,
            bus=str(self.folder / "bus.sock"),
            name="gateway",
            ledger=str(self.folder / "ledger.db"),
            fleet="test",
            max_wait_s=5.0,
        )

    def wait(self, child_id: str, kind: str) -> ChildEvent:
        while True:
            event = self._events.get(timeout=LIMIT_S)
            if (event.child_id, event.kind) == (child_id, kind):
                return event

    def hear(self) -> AgentMessage:
        message = self.bus.receive(LIMIT_S)
        assert message is not None, "nothing came over the bus"
        return message

    def stop(self, child_id: str) -> None:
        self._supervisor.proxy().stop_child(child_id).get(timeout=LIMIT_S)

    def close(self) -> None:
        self._supervisor.stop(timeout=LIMIT_S)
        self.bus.close()


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    server = ForkServer(["aiohttp.web"])
    server.start()
    yield server
    server.close()


@pytest.fixture
def services(tmp_path: Path, forks: ForkServer) -> Iterator[Services]:
    made = Services(tmp_path, forks)
    yield made
    made.close()


def ask(path: str, prompt: str, *, stream: bool = False) -> tuple[int, str]:
    """One request of an agent; the status and the text of the answer."""
    connection = http.client.HTTPConnection("localhost", timeout=LIMIT_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(LIMIT_S)
    with contextlib.closing(connection):
        return _asked(connection, path, prompt, stream=stream)


def _asked(
    connection: http.client.HTTPConnection, path: str, prompt: str, *, stream: bool
) -> tuple[int, str]:
    connection.sock.connect(path)
    messages = [{"role": "user", "content": prompt}]
    body = json.dumps({"model": "m", "stream": stream, "messages": messages})
    connection.request("POST", "/v1/messages", body, {"x-api-key": "placeholder"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_an_agent_is_answered_and_its_tokens_are_told_on_the_bus(services: Services) -> None:
    path = str(services.folder / "a.sock")
    services.add_gateway(services.add_model(), {"agent_000": path})
    assert services.wait("gateway", "ready").info["agents"] == ["agent_000"]
    status, text = ask(path, '@@ {"text": "hello", "usage": {"output_tokens": 42}} @@')
    assert status == 200
    assert "hello" in text
    message = services.hear()
    assert (message.sender_id, message.message_type) == ("gateway", MessageType.STATUS_UPDATE)
    assert message.payload["kind"] == "usage"
    assert message.payload["agent_id"] == "agent_000"
    assert message.payload["output_tokens"] == 42


def test_the_key_is_in_no_environment_and_no_command_line(services: Services) -> None:
    services.add_gateway(services.add_model(), {"agent_000": str(services.folder / "a.sock")})
    pid = services.wait("gateway", "ready").info["pid"]
    process = psutil.Process(pid)
    assert CANARY not in f"{process.environ()} {process.cmdline()}"
    assert pid != os.getpid()


def test_sockets_are_opened_and_closed_by_command(services: Services) -> None:
    services.add_gateway(services.add_model(), {})
    services.wait("gateway", "ready")
    path = services.folder / "late" / "api.sock"
    answer = command(services, command="open", agent_id="late", socket_path=str(path))
    assert answer.payload == {"command": "opened", "agent_id": "late"}
    assert ask(str(path), "hi")[0] == 200
    assert services.hear().payload["agent_id"] == "late"
    answer = command(services, command="close", agent_id="late")
    assert answer.payload == {"command": "closed", "agent_id": "late"}
    assert not path.exists()


def test_a_command_that_cannot_be_done_is_answered_with_the_reason(services: Services) -> None:
    services.add_gateway("http://127.0.0.1:9", {})
    services.wait("gateway", "ready")
    answer = command(services, command="open", agent_id="x", socket_path="/" + "x" * 200)
    assert answer.message_type is MessageType.ERROR
    assert answer.payload["kind"] == "SocketPathTooLong"


def command(services: Services, **payload: str) -> AgentMessage:
    sent = services.orchestrator.send("gateway", MessageType.COORDINATION, dict(payload))
    answer = services.hear()
    assert answer.correlation_id == sent
    return answer


@pytest.mark.parametrize(("upstream", "key"), [("ftp://x", CANARY), ("http://x", "")])
def test_a_wrong_configuration_is_given_up_at_once(
    services: Services, upstream: str, key: str
) -> None:
    services.add_gateway(upstream, {}, key)
    reason = services.wait("gateway", "gave_up").reason
    assert reason is not None
    assert (reason.kind, reason.failure_kind) == ("permanent", "config")
    assert "set" in reason.detail


def test_a_killed_gateway_comes_back_at_the_same_sockets(services: Services) -> None:
    path = str(services.folder / "a.sock")
    services.add_gateway(services.add_model(), {"agent_000": path})
    os.kill(services.wait("gateway", "ready").info["pid"], signal.SIGKILL)
    services.wait("gateway", "ready")
    assert ask(path, "hi")[0] == 200


def test_a_killed_model_comes_back_where_the_gateway_looks_for_it(services: Services) -> None:
    path = str(services.folder / "a.sock")
    url = services.add_model()
    services.add_gateway(url, {"agent_000": path})
    services.wait("gateway", "ready")
    process = next(
        child for child in psutil.Process().children(recursive=True) if child.name() == "model"
    )
    process.kill()
    assert services.wait("model", "ready").info["url"] == url
    assert ask(path, "hi")[0] == 200


def test_a_gateway_whose_bus_goes_away_ends_so_that_it_is_started_anew(services: Services) -> None:
    services.add_gateway("http://127.0.0.1:9", {"agent_000": str(services.folder / "a.sock")})
    services.wait("gateway", "ready")
    services.bus.close()
    reason = services.wait("gateway", "exited").reason
    assert reason is not None
    assert reason.kind == "crash"
    assert "bus" in reason.detail


def test_an_orderly_stop_leaves_no_socket(services: Services) -> None:
    services.add_gateway(services.add_model(), {"agent_000": str(services.folder / "a.sock")})
    services.wait("gateway", "ready")
    for child_id in ("gateway", "model"):
        services.stop(child_id)
        reason = services.wait(child_id, "stopped").reason
        assert reason is not None
        assert (reason.kind, reason.exit_code) == ("shutdown", 0)
    assert {path.name for path in services.folder.iterdir() if path.is_socket()} == {"bus.sock"}


def test_a_model_on_a_port_tells_where_it_listens(services: Services) -> None:
    services.add("model", "understudy.fakeapi.process:main", host="127.0.0.1", port=0)
    url = services.wait("model", "ready").info["url"]
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=LIMIT_S)
    connection.request("GET", "/_fake/requests")
    assert connection.getresponse().read() == b"[]"
    connection.close()


def test_requests_go_on_the_account_of_the_task_that_the_agent_works_on(services: Services) -> None:
    path = str(services.folder / "a.sock")
    services.add_gateway(services.add_model(), {"agent_000": path})
    pid = services.wait("gateway", "ready").info["pid"]
    assign(services, "t1")
    assert ask(path, "hi")[0] == 200
    assert services.hear().payload["task_id"] == "t1"
    # Its successor knows it as well.
    os.kill(pid, signal.SIGKILL)
    services.wait("gateway", "ready")
    assert ask(path, "hi")[0] == 200
    assert services.hear().payload["task_id"] == "t1"


def test_a_new_gateway_charges_nobody_for_what_an_earlier_one_was_told(services: Services) -> None:
    path = str(services.folder / "a.sock")
    services.add_gateway(services.add_model(), {"agent_000": path})
    pid = services.wait("gateway", "ready").info["pid"]
    assign(services, "before")
    os.kill(pid, signal.SIGKILL)
    services.wait("gateway", "ready")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, path, "hi")
        # It has asked, and nothing says yet for which task.
        assert services.bus.receive(0.1) is None
        order = {"command": "assign", "agent_id": "agent_000", "task_id": "after"}
        services.orchestrator.send("gateway", MessageType.COORDINATION, order)
        assert asked.result(LIMIT_S)[0] == 200
    assert services.hear().payload["task_id"] == "after"


def assign(services: Services, task_id: str) -> None:
    """Sent first, then a command that is answered: after it the assignment has been taken."""
    order: dict[str, Any] = {"command": "assign", "agent_id": "agent_000", "task_id": task_id}
    services.orchestrator.send("gateway", MessageType.COORDINATION, order)
    command(services, command="close", agent_id="nobody")


def test_a_ledger_that_cannot_be_used_is_told_at_once(services: Services) -> None:
    (services.folder / "ledger.db").write_bytes(b"no database" * 100)
    services.add_gateway("http://127.0.0.1:9", {})
    reason = services.wait("gateway", "gave_up").reason
    assert reason is not None
    assert (reason.kind, reason.failure_kind) == ("permanent", "config")
    assert "ledger.db" in reason.detail
