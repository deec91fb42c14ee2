"""The program as a user runs it: a process, containers and the CLI are real, the model scripted."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.program import Program

import understudy
from understudy.actors.paths import cache_dir
from understudy.actors.podman import DEFAULT_CLI_VERSION, ensure_image, podman_env


@pytest.fixture(scope="session")
def image() -> str:
    """The agent image with the pinned CLI."""
    return ensure_image(DEFAULT_CLI_VERSION, cache_dir(os.environ), env=os.environ).tag


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A small repository with faults in it."""
    source = Path(understudy.__file__).parent / "demo_repo"
    return Path(shutil.copytree(source, tmp_path / "repo"))


@pytest.fixture
def program(home: Path, repo: Path, image: str) -> Iterator[Program]:
    """`understudy`, started in the repository; whatever still runs at the end is ended."""
    del home, image
    made = Program(repo, dict(os.environ))
    yield made
    for process in made.started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:  # noqa: ANN401 - whatever it gives
    """What the condition gives as soon as it is true."""
    ends = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > ends:
            pytest.fail(f"not true within {timeout_s} s")
        time.sleep(0.02)
    return value


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """`until`, for the tests."""
    return until


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    where = tmp_path / "small"
    where.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", where], check=True, timeout=10
    )
    yield where
    subprocess.run(["umount", where], check=True, timeout=10)


@pytest.fixture(scope="session")
def plain_image(image: str) -> str:
    """An image that lacks the CLI."""
    env = podman_env(cache_dir(os.environ), os.environ)
    tag = "localhost/understudy-test-plain:1"
    text = (
        f"FROM {image}\nUSER 0\nRUN mv /usr/local/bin/claude /usr/local/bin/not-claude\nUSER 1000\n"
    )
    subprocess.run(
        ["podman", "build", "--pull=never", "--isolation", "chroot", "-q", "-t", tag, "-"],
        input=text, text=True, env=env, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return tag
