"""Real containers for the tests: the two images, and containers that are gone when a test ends."""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest

from understudy.actors.paths import cache_dir
from understudy.actors.podman import (
    CONTAINER_GID,
    CONTAINER_UID,
    Container,
    ContainerSpec,
    container_name,
    ensure_image,
    podman_env,
)
from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

# Before any test turns HOME to a folder of its own.
_CACHE = cache_dir(os.environ)


@pytest.fixture(scope="session")
def image_cache() -> Path:
    """The cache that all runs share: downloads are made once."""
    return _CACHE


@pytest.fixture(scope="session")
def podman_environment(image_cache: Path) -> dict[str, str]:
    """What podman is run with here."""
    return podman_env(image_cache)


@pytest.fixture(scope="session")
def agent_image(image_cache: Path) -> str:
    """The image with the pinned Claude Code."""
    return ensure_image(DEFAULT_CLI_VERSION, image_cache).tag


@pytest.fixture(scope="session")
def old_agent_image(image_cache: Path) -> str:
    """The image with the oldest Claude Code that is supported."""
    return ensure_image(OLDEST_CLI_VERSION, image_cache).tag


@pytest.fixture
def run_id() -> str:
    """A run of this test's own."""
    return secrets.token_hex(5)


def make_folders(root: Path) -> dict[str, Path]:
    """Home, workspace and socket folder, owned by the container's user."""
    folders = {name: root / name for name in ("home", "work", "sockets")}
    for folder in folders.values():
        folder.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(folder, CONTAINER_UID, CONTAINER_GID)
    return {
        "home_dir": folders["home"],
        "work_dir": folders["work"],
        "socket_dir": folders["sockets"],
    }


@pytest.fixture
def make_spec(tmp_path: Path, agent_image: str, run_id: str) -> Callable[..., ContainerSpec]:
    """A spec of a container of this test; the fields given win."""
    made = iter(range(1, 1000))

    def make(*command: str, **fields: Any) -> ContainerSpec:  # noqa: ANN401
        serial = next(made)
        values: dict[str, Any] = {
            "name": container_name(run_id, "agent_000", 1, serial),
            "image": agent_image,
            "memory": "256m",
            "timeout_s": 120,
            **make_folders(tmp_path / str(serial)),
            **fields,
        }
        return ContainerSpec(command=command, **values)

    return make


@pytest.fixture
def start(
    make_spec: Callable[..., ContainerSpec], podman_environment: dict[str, str]
) -> Generator[Callable[..., Container]]:
    """Start a container for the test; it is stopped afterwards, whatever happened."""
    started: list[Container] = []

    def start_one(*command: str, **fields: Any) -> Container:  # noqa: ANN401
        container = Container(make_spec(*command, **fields), env=podman_environment)
        started.append(container)
        container.start()
        return container

    yield start_one
    for container in started:
        container.stop(grace_s=0)
        container.close()


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., bool]:
    """See `eventually`."""
    return eventually
