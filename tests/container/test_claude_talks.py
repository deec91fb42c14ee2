"""Tools, permissions, changes at run time and resumed conversations, with the real CLI."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_backend import MemoryBackend
from fakes.real_cli import TURN_S, Cli, scripted

from understudy.actors.claude import (
    ClaudeDied,
    ControlRefused,
    PermissionRequest,
    PermissionState,
    TurnCancelled,
)
from understudy.actors.claude.argv import CliRole
from understudy.actors.claude.session_lock import Holder, SessionHeld, SessionLock
from understudy.actors.claude.tools import agent_tools
from understudy.actors.failure import FailureKind, classify_exit, classify_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from understudy.actors.claude import McpServer

pytestmark = pytest.mark.podman

MODEL = "claude-sonnet-4-5"
TOUCH: dict[str, Any] = {"tool": "Bash", "input": {"command": "touch /work/made && echo made"}}
GOT = {"text": "got {{tool_result}}"}


@pytest.fixture(params=["agent_image", "old_agent_image"])
def image(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(request.param)
    return name


def speaker(server: McpServer) -> CliRole:
    return CliRole((), model=MODEL, servers=((server.name, server.tool_names),))


def use(tool: str, **arguments: object) -> dict[str, Any]:
    return {"tool": f"mcp__bus__{tool}", "input": arguments}


def ask(to: str, question: str) -> dict[str, Any]:
    return use("ask_agent", to=to, question=question)


def words(cli: Cli, prompt: str) -> str:
    """What comes of a prompt without a script."""
    return str(cli.client.run_turn(prompt, timeout_s=TURN_S)["result"])


# What the models do when they are asked by each other.
RULES = {
    "rules": [
        {"match": "how much", "steps": [{"text": "it is 42"}]},
        {
            "match": "ask me back",
            "steps": [ask("alice", "why?"), {"text": "without asking: {{tool_result}}"}],
        },
        {"match": "read your mail", "steps": [use("read_messages"), GOT]},
        {"match": "take long", "steps": [{"hang": 60, "at": "mid", "text": "half"}]},
    ]
}


class Pair:
    """Two CLIs in two containers, alice and bob, joined by a backend in memory.

    Whoever is asked works on the question in a turn of its own.
    """

    def __init__(self, root: Path, image: str, stack: ExitStack) -> None:
        self.fleet = MemoryBackend()
        self.clis: dict[str, Cli] = {}
        for name in ("alice", "bob"):
            server = agent_tools(name, self.fleet)
            options = {"servers": [server]}
            cli = Cli(root / name, image, speaker(server), scenarios=RULES, client=options)
            self.clis[name] = stack.enter_context(cli)
            self._join(name, cli)
        for cli in self.clis.values():
            cli.client.initialize(TURN_S)

    def _join(self, name: str, cli: Cli) -> None:
        self.fleet.join(name, lambda _caller, question: words(cli, question), cli.client.cancel)


@pytest.fixture
def pair(tmp_path: Path, image: str) -> Any:  # noqa: ANN401 - a generator of Pair
    with ExitStack() as stack:
        yield Pair(tmp_path, image, stack)


def test_two_agents_in_two_containers_reach_each_other(
    pair: Pair, eventually: Callable[..., bool]
) -> None:
    alice, bob = pair.clis["alice"], pair.clis["bob"]
    # 2.1.197 connects after it has said that it is ready.
    assert eventually(lambda: alice.client.mcp_status() == {"bus": "connected"})
    result = alice.turn(ask("bob", "how much?"), GOT)
    answer = json.loads(result["result"].removeprefix("got "))
    assert (answer["from"], answer["answer"]) == ("bob", "it is 42")
    # Loaded, not deferred: the model sees the tools in the first request.
    offered = alice.api.requests[0]["tools"]
    assert set(agent_tools("alice", pair.fleet).tool_names) <= set(offered)

    # bob asks back while it is asked: refused, and both end their turns.
    result = alice.turn(ask("bob", "ask me back"), GOT)
    assert "bob waits for alice waits for bob" in result["result"]
    assert classify_result(result, None, needs_structured=False) is None

    # Messages and tasks.
    assert "sent" in alice.turn(use("send_message", to="bob", text="for later"), GOT)["result"]
    # A script in an earlier prompt would go before the rules: bob is only asked in words.
    assert "for later" in words(bob, "read your mail")
    assert "t" in alice.turn(use("delegate_task", description="count"), GOT)["result"]
    assert "question" in alice.turn(use("ask_agent", to="bob"), GOT)["result"]

    # A cancelled question is cancelled for the one who was asked too, and both can go on.
    bob.when_asked(alice.client.cancel)
    with pytest.raises(TurnCancelled) as caught:
        alice.turn(ask("bob", "take long"), GOT)
    assert caught.value.settled
    assert pair.fleet.interrupted == ["bob"]
    assert alice.turn({"text": "on"})["result"] == "on"
    bob.client.rest(TURN_S)  # it was only told to end its turn
    assert words(bob, "how much?") == "it is 42"

    # A peer that dies is told at once.
    bob.when_asked(bob.container.kill)
    started = time.monotonic()
    result = alice.turn(ask("bob", "take long"), GOT)
    assert time.monotonic() - started < 30  # the model takes 60
    assert "bob cannot answer" in result["result"]


def test_several_are_asked_at_once(tmp_path: Path, image: str) -> None:
    fleet = MemoryBackend()
    together = threading.Barrier(2, timeout=TURN_S)
    for name in ("bob", "carol"):
        fleet.join(name, lambda _caller, _question: f"met {together.wait() in (0, 1)}")
    server = agent_tools("alice", fleet)
    with Cli(tmp_path, image, speaker(server), client={"servers": [server]}) as cli:
        asks = [["mcp__bus__ask_agent", {"to": to, "question": "?"}] for to in ("bob", "carol")]
        assert "met True" in cli.turn({"tools": asks}, GOT)["result"]


class Desk:
    """Answers each request for permission as the test says."""

    def __init__(self) -> None:
        self.requests: list[PermissionRequest] = []
        self.arrived = threading.Semaphore(0)
        self.answer = "nothing"

    def __call__(self, request: PermissionRequest) -> None:
        self.requests.append(request)
        self.arrived.release()
        match self.answer:
            case "allow":
                request.allow()
            case "change":
                request.allow({"command": "echo changed"})
            case "deny":
                request.deny("not on a Sunday")
            case "end":
                request.deny("stop here", interrupt=True)
            case _:
                pass


def test_a_call_is_made_only_when_somebody_allows_it(tmp_path: Path, image: str) -> None:
    desk = Desk()
    role = CliRole(("Bash", "Read"), model=MODEL, asks_permission=True)
    options = {"on_permission": desk, "permission_timeout_s": 4.0}
    with Cli(tmp_path, image, role, client=options) as cli:
        cli.client.initialize(TURN_S)
        made = cli.work / "made"
        desk.answer = "deny"
        denied = cli.turn(TOUCH, GOT)
        assert "not on a Sunday" in denied["result"]
        assert denied["permission_denials"][0]["tool_name"] == "Bash"
        desk.answer = "nothing"
        # Longer than the time without a sign that is allowed: the silence is ours.
        prompt = scripted(TOUCH, GOT)
        late = cli.client.run_turn(prompt, timeout_s=TURN_S, stall_s=3.0)
        assert "within 4 s" in late["result"]
        assert not made.exists()
        desk.answer = "change"
        assert "got changed" in cli.turn(TOUCH, GOT)["result"]
        assert not made.exists()
        desk.answer = "end"
        assert cli.turn(TOUCH, GOT)["subtype"] == "error_during_execution"
        desk.answer = "allow"
        assert "got made" in cli.turn(TOUCH, GOT)["result"]
        assert made.exists()
        assert [request.tool for request in desk.requests] == ["Bash"] * 5
        assert desk.requests[0].tool_input["command"] == TOUCH["input"]["command"]
        # What only reads is not asked about.
        cli.turn({"tool": "Read", "input": {"file_path": "/work/made"}}, GOT)
        assert len(desk.requests) == 5


def test_commands_that_only_read_the_workspace_are_not_asked_about(
    tmp_path: Path, image: str
) -> None:
    """The CLI's own judgement, in its mode `default`: what it lets pass, and what it does not."""
    desk = Desk()
    desk.answer = "deny"
    role = CliRole(("Bash", "Read"), model=MODEL, asks_permission=True)
    with Cli(tmp_path, image, role, client={"on_permission": desk}) as cli:
        cli.client.initialize(TURN_S)
        (cli.work / "made").write_text("here")
        for command in ("cat made", "ls", "grep -r here .", "echo x"):
            cli.turn({"tool": "Bash", "input": {"command": command}}, GOT)
        assert desk.requests == []
        asked = ("cat /etc/passwd", "cat made > other", "cat made; touch other", "cat made $(id)")
        for command in asked:
            cli.turn({"tool": "Bash", "input": {"command": command}}, GOT)
        assert [request.tool_input["command"] for request in desk.requests] == list(asked)
        assert not (cli.work / "other").exists()


def test_an_interrupt_withdraws_an_open_request(tmp_path: Path, image: str) -> None:
    desk = Desk()
    role = CliRole(("Bash",), model=MODEL, asks_permission=True)
    with Cli(tmp_path, image, role, client={"on_permission": desk}) as cli:
        cli.client.initialize(TURN_S)

        def cancel() -> None:
            assert desk.arrived.acquire(timeout=TURN_S)
            cli.client.cancel()

        threading.Thread(target=cancel, name="understudy-test").start()
        with pytest.raises(TurnCancelled) as caught:
            cli.turn(TOUCH, GOT)
        assert caught.value.settled
        cli.client.rest(TURN_S)
        assert desk.requests[0].state is PermissionState.WITHDRAWN
        assert not desk.requests[0].allow()
        assert cli.turn({"text": "on"})["result"] == "on"


def test_an_interrupt_ends_a_command_in_the_middle(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, CliRole(("Bash",), model=MODEL)) as cli:
        cli.client.initialize(TURN_S)
        command = "touch /work/begun; sleep 300"

        def cancel() -> None:
            tick = threading.Event()
            while not (cli.work / "begun").exists():
                tick.wait(0.01)
            cli.client.cancel()

        threading.Thread(target=cancel, name="understudy-test", daemon=True).start()
        with pytest.raises(TurnCancelled) as caught:
            cli.turn({"tool": "Bash", "input": {"command": command}}, GOT)
        assert caught.value.settled
        assert cli.turn({"text": "on"})["result"] == "on"
        assert "sleep 300" not in cli.container.exec("ps ax || cat /proc/*/cmdline").stdout


def test_model_and_mode_change_while_it_runs(tmp_path: Path, image: str) -> None:
    desk = Desk()
    desk.answer = "deny"
    role = CliRole(("Write",), model=MODEL, asks_permission=True)
    write = {"tool": "Write", "input": {"file_path": "/work/made", "content": "x"}}
    with Cli(tmp_path, image, role, client={"on_permission": desk}) as cli:
        cli.client.initialize(TURN_S)
        cli.turn(write, GOT)
        assert len(desk.requests) == 1
        assert {request["model"] for request in cli.api.requests} == {MODEL}
        asked = len(cli.api.requests)
        cli.client.set_model("claude-haiku-4-5")
        cli.client.set_permission_mode("acceptEdits")
        cli.turn(write, GOT)
        assert {request["model"] for request in cli.api.requests[asked:]} == {"claude-haiku-4-5"}
        assert len(desk.requests) == 1
        assert (cli.work / "made").read_text() == "x"
        cli.client.rest(TURN_S)


def test_a_mode_beyond_the_first_one_is_refused(tmp_path: Path, image: str) -> None:
    with Cli(tmp_path, image, CliRole((), model=MODEL)) as cli:
        with pytest.raises(ControlRefused, match="bypassPermissions"):
            cli.client.set_permission_mode("bypassPermissions")
        assert cli.client.end(TURN_S)


def test_a_conversation_goes_on_in_another_process(tmp_path: Path, image: str) -> None:
    session, role = str(uuid.uuid4()), CliRole(("Bash",), model=MODEL)
    locks = tmp_path / "locks"
    with Cli(tmp_path, image, role, session_id=session) as first:
        lock = SessionLock(locks, session)
        lock.acquire(first.container.spec.name, lambda _: None)
        with pytest.raises(SessionHeld, match=first.container.spec.name):
            SessionLock(locks, session).acquire("another", lambda _: None)
        assert first.turn({"text": "remember 17"})["session_id"] == session
        first.when_asked(first.container.kill)
        with pytest.raises(ClaudeDied):
            first.turn(TOUCH, {"hang": 60, "at": "mid", "text": "half"})
    lock.release()
    with Cli(tmp_path, image, role, session_id=session, resume=True) as second:
        second.client.initialize(TURN_S)
        result = second.turn({"text": "I know"})
        assert result["session_id"] == second.client.session_id == session
        assert "remember 17" in json.dumps(second.api.requests[-1]["body"]["messages"])


@pytest.mark.parametrize(
    ("resume", "words"), [(True, "No conversation found"), (False, "already in use")]
)
def test_a_conversation_that_is_not_there_or_is_there_already_is_told(
    tmp_path: Path, image: str, resume: bool, words: str
) -> None:
    session, role = str(uuid.uuid4()), CliRole((), model=MODEL)
    if not resume:
        with Cli(tmp_path, image, role, session_id=session) as cli:
            cli.turn({"text": "one"})
    with Cli(tmp_path, image, role, session_id=session, resume=resume) as cli:
        with pytest.raises(ClaudeDied, match=words) as caught:
            cli.client.initialize(TURN_S)
        said = caught.value.stderr_tail
        assert classify_exit(1, stderr_tail=said) is FailureKind.CONVERSATION


def test_a_dead_drivers_container_is_ended_before_the_conversation_goes_on(
    tmp_path: Path, agent_image: str
) -> None:
    session, role = str(uuid.uuid4()), CliRole((), model=MODEL)
    locks = tmp_path / "locks"
    with Cli(tmp_path, agent_image, role, session_id=session) as first:
        first.turn({"text": "one"})
        child = os.fork()
        if child == 0:  # the driver: takes the lock and dies with it
            SessionLock(locks, session).acquire(first.container.spec.name, lambda _: None)
            os.kill(os.getpid(), 9)
        os.waitpid(child, 0)
        ended: list[str] = []

        def end(previous: Holder) -> None:
            assert previous.container == first.container.spec.name
            first.container.remove()
            ended.append(previous.container)

        with SessionLock(locks, session) as lock:
            assert lock.acquire("second", end) == 2
            assert ended
            assert not first.container.alive()
