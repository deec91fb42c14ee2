"""ClaudeCodeWrapper: one container with its CLI, without a fleet."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from understudy import AgentConfig, ClaudeCodeWrapper
from understudy.actors.claude import ClaudeDied
from understudy.actors.claude.wrapper import NotSetUp
from understudy.actors.errors import PodmanError
from understudy.actors.podman import CONTAINER_GID, CONTAINER_UID
from understudy.fakeapi import FakeApiThread

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.podman

SOON_S = 30.0


@pytest.fixture
def config(tmp_path: Path, agent_image: str) -> AgentConfig:
    return AgentConfig(
        agent_id="test_001",
        container_name=f"test_container_{os.getpid()}",
        work_dir=str(tmp_path / "work"),
        podman_image=agent_image,
    )


def read_results(wrapper: ClaudeCodeWrapper, wanted: int) -> list[str]:
    """The results of as many commands; one read may hold the end of one and the next's begin."""
    results: list[str] = []
    deadline = time.monotonic() + SOON_S
    while len(results) < wanted:
        assert time.monotonic() < deadline, f"{results} within {SOON_S} s"
        for stream, line in wrapper.read_output(timeout=1.0):
            assert stream == "stdout", line
            event: dict[str, Any] = json.loads(line)
            if event["type"] == "result":
                results.append(event["result"])
    return results


def test_a_command_runs_in_the_container_and_nothing_is_left_afterwards(
    config: AgentConfig,
) -> None:
    with ClaudeCodeWrapper(config) as wrapper:
        assert wrapper.process_alive
        result = wrapper.exec_in_container("echo 'Container is running'; id -u; exit 3")
        assert result.stdout.split("\n")[:2] == ["Container is running", "1000"]
        assert result.exit_code == 3
        name = wrapper.container_id
        assert name
    assert not wrapper.process_alive
    assert wrapper.container_id is None
    with pytest.raises(NotSetUp, match="setup_container"):
        wrapper.exec_in_container("true")


def test_prompts_are_worked_off_in_their_order(config: AgentConfig, tmp_path: Path) -> None:
    sockets = tmp_path / "s"
    sockets.mkdir()
    if os.geteuid() == 0:
        os.chown(sockets, CONTAINER_UID, CONTAINER_GID)
    config.socket_dir = str(sockets)
    with FakeApiThread(unix=sockets / "api.sock"), ClaudeCodeWrapper(config) as wrapper:
        wrapper.start_claude_code()
        assert wrapper.is_running
        write = {"tool": "Write", "input": {"file_path": "/work/made.txt", "content": "here"}}
        wrapper.send_command(f"@@ {json.dumps([write, {'text': 'first'}])} @@")
        wrapper.send_command('@@ {"text": "second"} @@')
        assert read_results(wrapper, 2) == ["first", "second"]
    assert (tmp_path / "work/made.txt").read_text() == "here"


def test_a_cli_without_a_gateway_answers_with_an_error(config: AgentConfig) -> None:
    with ClaudeCodeWrapper(config) as wrapper:
        wrapper.start_claude_code()
        wrapper.stop()
        assert not wrapper.is_running
        with pytest.raises(ClaudeDied, match="start_claude_code"):
            wrapper.send_command("hello")


def test_stop_ends_a_command_that_runs(config: AgentConfig, tmp_path: Path) -> None:
    sockets = tmp_path / "s"
    sockets.mkdir()
    if os.geteuid() == 0:
        os.chown(sockets, CONTAINER_UID, CONTAINER_GID)
    config.socket_dir = str(sockets)
    with FakeApiThread(unix=sockets / "api.sock"), ClaudeCodeWrapper(config) as wrapper:
        wrapper.start_claude_code()
        wrapper.send_command('@@ {"hang": 60} @@')
        started = time.monotonic()
        wrapper.stop()
        wrapper.stop()
        assert time.monotonic() - started < 10
        assert not wrapper.process_alive


def test_only_headless_is_possible(config: AgentConfig) -> None:
    with ClaudeCodeWrapper(config) as wrapper, pytest.raises(ValueError, match="no terminal"):
        wrapper.start_claude_code(headless=False)


def test_nothing_runs_before_the_set_up(config: AgentConfig) -> None:
    wrapper = ClaudeCodeWrapper(config)
    assert not wrapper.process_alive
    with pytest.raises(NotSetUp):
        wrapper.start_claude_code()
    wrapper.stop()
    wrapper.cleanup_container()


def test_a_missing_image_is_told_by_name(config: AgentConfig) -> None:
    config.podman_image = "localhost/no-such-image:0"
    with pytest.raises(PodmanError, match="no-such-image"):
        ClaudeCodeWrapper(config).setup_container()
