"""One container with its CLI, for programs that want no fleet around it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import AgentError
from ..paths import cache_dir
from ..podman import (
    CONTAINER_GID,
    CONTAINER_UID,
    DEFAULT_CLI_VERSION,
    CommandResult,
    Container,
    ContainerSpec,
    image_tag,
    podman_env,
)
from .argv import CLI_ENV, CliRole, cli_argv
from .client import ClaudeClient
from .errors import ClaudeDied, ClaudeError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALL_TOOLS = ("Bash", "Read", "Edit", "Write", "Grep", "Glob")
_STOP_GRACE_S = 5.0


class NotSetUp(AgentError):
    """A method was called before the one that makes it possible."""

    def __init__(self, wanted: str, first: str) -> None:
        super().__init__(wanted, first)
        self.wanted = wanted
        self.first = first

    def __str__(self) -> str:
        return f"{self.wanted} needs {self.first}() first"


@dataclass
class AgentConfig:
    """What a wrapper's container is made of.

    Attributes:
        agent_id: who it is, in labels and logs.
        container_name: the container's name; must be free.
        work_dir: mounted at /work. Made when missing, never removed. Under root the user inside
            has uid 1000, which a folder that was there before must let in.
        podman_image: the agent image.
        memory_limit: in podman's notation.
        cpu_limit: share of CPUs.
        socket_dir: a folder with the gateway's `api.sock`; None leaves the CLI without any API.
        tools: what the CLI may use.
        model: the model's name; None is the CLI's default.
        json_schema: shape of a structured result; None for free text.
        missing_limits: limits that may lack where the machine cannot keep them: memory, pids, cpu.
        startup_timeout: seconds until the CLI must be ready.
        task_timeout: seconds that one command may take.
    """

    agent_id: str
    container_name: str
    work_dir: str
    podman_image: str = image_tag(DEFAULT_CLI_VERSION)
    memory_limit: str = "2g"
    cpu_limit: str = "1.0"
    socket_dir: str | None = None
    tools: tuple[str, ...] = _ALL_TOOLS
    model: str | None = None
    json_schema: Mapping[str, Any] | None = None
    missing_limits: tuple[str, ...] = ()
    startup_timeout: float = 60.0
    task_timeout: float = 300.0


class ClaudeCodeWrapper:
    """A hardened container in which Claude Code is the main process.

    As a context manager it sets the container up, and leaves nothing of it behind. Commands run one
    after the other in a thread of their own; their output is collected until it is read.
    Methods are for one thread, `is_running` and `process_alive` for any.

    Args:
        config: what the container is made of.
        env: the environment; secrets in it reach neither podman nor the container.
    """

    def __init__(self, config: AgentConfig, *, env: Mapping[str, str] = os.environ) -> None:
        self.config = config
        self.container_id: str | None = None
        self.is_running = False
        self._podman_env = podman_env(cache_dir(env))
        self._container: Container | None = None
        self._client: ClaudeClient | None = None
        self._home: Path | None = None
        self._commands: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._output: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._half_line = b""

    @property
    def process_alive(self) -> bool:
        """Whether the container's main process runs."""
        return self._container is not None and self._container.alive()

    def setup_container(self) -> str:
        """Start the container, with the CLI in it, and return its id. Takes about 0.1 s.

        Raises:
            MachineNotReady: a limit cannot be kept here, and may not lack.
            PodmanError: it could not be started: no such image, name in use, …
        """
        if self._container is not None:
            raise NotSetUp("another setup_container", "cleanup_container")
        self._home = Path(tempfile.mkdtemp(prefix="understudy-home-"))
        _give_to_container(self._home)
        work_dir = Path(self.config.work_dir).absolute()
        if not work_dir.exists():
            work_dir.mkdir(parents=True)
            _give_to_container(work_dir)
        container = Container(self._spec(self._home, work_dir), env=self._podman_env)
        try:
            container.start()
        except BaseException:
            self._remove_home()
            raise
        self._container = container
        self.container_id = container.container_id
        return container.container_id

    def exec_in_container(self, command: str, timeout_s: float = 30.0) -> CommandResult:
        """Run a short command by bash in the container.

        Raises:
            NotSetUp: there is no container.
            PodmanError: the container does not run any more.
        """
        if self._container is None:
            raise NotSetUp("exec_in_container", "setup_container")
        return self._container.exec(command, timeout_s)

    def start_claude_code(self, headless: bool = True) -> None:
        """Wait until the CLI is ready for commands.

        Raises:
            NotSetUp: there is no container.
            ValueError: not headless; the container has no terminal.
            ClaudeError: the CLI ended, or is not ready within `startup_timeout`.
        """
        if self._container is None:
            raise NotSetUp("start_claude_code", "setup_container")
        if not headless:
            raise ValueError("the container has no terminal: only headless=True is possible")
        if self._client is None:
            self._client = self._connect(self._container)
        self._client.initialize(self.config.startup_timeout)
        if self._worker is None:
            name = f"understudy-{self.config.agent_id}"
            self._worker = threading.Thread(target=self._work, name=name, daemon=True)
            self._worker.start()
        self.is_running = True

    def send_command(self, command: str) -> None:
        """Give the CLI a prompt; returns at once. The output ends with a line of type `result`.

        Raises:
            ClaudeDied: the CLI is not running.
        """
        if not self.is_running or not self.process_alive:
            raise ClaudeDied("Claude Code is not running; call start_claude_code() first")
        self._commands.put(command)

    def read_output(self, timeout: float = 1.0) -> list[tuple[str, str]]:
        """What came since the last call: ("stdout", line of JSON) or ("stderr", line).

        Waits up to `timeout` seconds for the first line, and takes what is there then.
        """
        lines: list[tuple[str, str]] = []
        deadline = time.monotonic() + timeout
        try:
            lines.append(self._output.get(timeout=max(0.0, deadline - time.monotonic())))
            while True:
                lines.append(self._output.get_nowait())
        except queue.Empty:
            return lines

    def stop(self) -> None:
        """End the CLI: what runs is interrupted. The container ends with it. Safe to call twice.

        Raises:
            PodmanError: the container could not be removed.
        """
        self.is_running = False
        if self._client is not None:
            self._client.cancel()
        if self._worker is not None:
            self._commands.put(None)
            self._worker.join(_STOP_GRACE_S)
            self._worker = None
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._container is not None:
            self._container.stop(_STOP_GRACE_S)

    def cleanup_container(self) -> None:
        """Leave nothing of the container: record, pipes, home. Safe to call twice.

        Raises:
            PodmanError: the container could not be removed.
        """
        container, self._container = self._container, None
        try:
            if container is not None:
                container.remove()
                container.close()
        finally:
            self.container_id = None
            self._remove_home()

    def __enter__(self) -> Self:
        self.setup_container()
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.stop()
        finally:
            self.cleanup_container()

    def _spec(self, home: Path, work_dir: Path) -> ContainerSpec:
        config = self.config
        role = CliRole(config.tools, json_schema=config.json_schema, model=config.model)
        return ContainerSpec(
            name=config.container_name,
            image=config.podman_image,
            command=cli_argv(role),
            home_dir=home,
            work_dir=work_dir,
            socket_dir=None if config.socket_dir is None else Path(config.socket_dir).absolute(),
            memory=config.memory_limit,
            cpus=config.cpu_limit,
            missing_limits=config.missing_limits,
            labels={"understudy.agent": config.agent_id},
            env=CLI_ENV,
        )

    def _connect(self, container: Container) -> ClaudeClient:
        return ClaudeClient(
            container.stdin,
            container.stdout,
            container.stderr,
            on_event=lambda event: self._output.put(("stdout", json.dumps(event))),
            on_stderr=self._on_stderr,
        )

    def _on_stderr(self, chunk: bytes) -> None:
        *lines, self._half_line = (self._half_line + chunk).split(b"\n")
        for line in lines:
            self._output.put(("stderr", line.decode(errors="replace")))

    def _work(self) -> None:
        client = self._client
        assert client is not None
        while (command := self._commands.get()) is not None:
            try:
                client.run_turn(
                    command,
                    timeout_s=self.config.task_timeout,
                    cancelled=lambda: not self.is_running,
                )
            except ClaudeError as error:
                self._output.put(("stderr", str(error)))

    def _remove_home(self) -> None:
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None


def _give_to_container(folder: Path) -> None:
    """Under root the container's user is uid 1000; otherwise it is mapped to the caller."""
    if os.geteuid() == 0:
        os.chown(folder, CONTAINER_UID, CONTAINER_GID)
