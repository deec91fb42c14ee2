"""The real CLI in the fleet's own container, with a scripted model behind it."""

from __future__ import annotations

import itertools
import json
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from understudy.actors.claude import ClaudeClient
from understudy.actors.claude.argv import CLI_ENV, CliRole, cli_argv
from understudy.actors.claude.transcript import leftovers, settle_and_archive
from understudy.actors.failure import FailureKind, classify_result
from understudy.actors.paths import cache_dir
from understudy.actors.podman import (
    CONTAINER_GID,
    CONTAINER_UID,
    Container,
    ContainerSpec,
    container_name,
    podman_env,
)
from understudy.fakeapi import FakeApiThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TURN_S = 60.0
_serials = itertools.count(1)


class Cli:
    """A container with the CLI in it, its home, its workspace and its scripted API.

    The folders below `root` stay, so that another one can be given the same home and workspace.

    Args:
        root: home, workspace and socket are made here, or found.
        image: the agent image.
        role: what the CLI may do.
        session_id: the conversation's id.
        resume: whether it is to go on.
        memory: the container's.
        orderly: whether the CLI may end by itself, which takes 2.1.330 up to 2 s after an error.
        scenarios: the model's, for prompts that hold no script.
        connect: whether a client is made for its pipes.
        client: what `ClaudeClient` takes besides the pipes.
        env: added to the CLI's environment.
    """

    def __init__(
        self,
        root: Path,
        image: str,
        role: CliRole,
        *,
        session_id: str | None = None,
        resume: bool = False,
        memory: str = "2g",
        orderly: bool = False,
        scenarios: dict[str, Any] | None = None,
        connect: bool = True,
        client: dict[str, Any] | None = None,
        **env: str,
    ) -> None:
        self.home, self.work, self.sockets = root / "home", root / "work", root / "s"
        self.archive = root / "archive"
        self._stack = ExitStack()
        self._options = client or {}
        self._orderly, self._connect = orderly, connect
        for folder in (self.home, self.work, self.sockets):
            folder.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(folder, CONTAINER_UID, CONTAINER_GID)
        spec = ContainerSpec(
            name=container_name(f"t{os.getpid()}", "claude", 1, next(_serials)),
            image=image,
            command=cli_argv(role, session_id=session_id, resume=resume),
            home_dir=self.home,
            work_dir=self.work,
            socket_dir=self.sockets,
            read_only_work=role.is_reading_only,
            memory=memory,
            env={**CLI_ENV, "CLAUDE_CODE_MAX_RETRIES": "0", **env},
        )
        self.role = role
        self.events: list[dict[str, Any]] = []
        self.api = FakeApiThread(scenarios, unix=self.sockets / "api.sock", bodies=True)
        self.container = Container(spec, env=podman_env(cache_dir(os.environ)))

    def __enter__(self) -> Self:
        self._stack.enter_context(self.api)
        self._stack.enter_context(self.container)
        container = self.container
        if not self._connect:
            return self
        self.client = self._stack.enter_context(
            ClaudeClient(
                container.stdin,
                container.stdout,
                container.stderr,
                on_event=self.events.append,
                **self._options,
            )
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._orderly:
            self.container.kill()
        self._stack.close()

    def turn(self, *steps: dict[str, Any], prompt: str = "") -> dict[str, Any]:
        """One turn in which the model does these steps."""
        return self.client.run_turn(scripted(*steps, prompt=prompt), timeout_s=TURN_S)

    def kind(self, *steps: dict[str, Any]) -> FailureKind | None:
        """What a turn with these steps is taken for."""
        self.events.clear()
        result = self.turn(*steps)
        needs = self.role.json_schema is not None
        return classify_result(result, self.error_word(), needs_structured=needs)

    def error_word(self) -> str | None:
        words = [event.get("error") for event in self.events if event["type"] == "assistant"]
        return str(words[-1]) if words and words[-1] else None

    def when_asked(self, do: Callable[[], object]) -> None:
        """Do it as soon as the model is asked once more, in a thread of its own."""
        before = len(self.api.requests)
        tick = threading.Event()

        def watch() -> None:
            while len(self.api.requests) == before:
                tick.wait(0.005)
            do()

        threading.Thread(target=watch, name="understudy-test", daemon=True).start()

    def files_with(self, text: str) -> list[Path]:
        """The files in home that hold the text."""
        files = (path for path in self.home.rglob("*") if path.is_file())
        return [path for path in files if text.encode() in path.read_bytes()]

    def clean(self) -> list[Path]:
        """What the agent does between two tasks."""
        finished = self.client.session_id
        assert finished is not None
        fresh = self.client.clear()
        assert fresh != finished
        settle_and_archive(self.home, finished, self.archive, timeout_s=5.0)
        return leftovers(self.home, fresh)


def scripted(*steps: dict[str, Any], prompt: str = "") -> str:
    """A prompt that says what the model does."""
    return f"{prompt} @@ {json.dumps(list(steps))} @@"
