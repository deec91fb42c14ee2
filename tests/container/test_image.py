from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from understudy.actors.errors import ImageError
from understudy.actors.podman import ensure_image, image_exists, run_podman
from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from understudy.actors.podman import Container, ImageInfo

pytestmark = pytest.mark.podman

VERSION = "9.9.9"
TAG = f"localhost/understudy-test-{os.getpid()}:{VERSION}"


@pytest.fixture
def small_cache(tmp_path: Path) -> Path:
    """A cache with a script in the place of the CLI."""
    cache = tmp_path / "cache"
    (cache / "scratch-of-a-killed-build").mkdir(parents=True)
    put_program(cache, f'echo "{VERSION} (script)"')
    return cache


def put_program(cache: Path, body: str) -> None:
    program = cache / f"claude-{VERSION}"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


@pytest.fixture(autouse=True)
def no_test_image_stays(podman_environment: dict[str, str]) -> Generator[None]:
    yield
    args = ("image", "rm", "--force", TAG)
    run_podman(*args, timeout_s=60, env=podman_environment, check=False)


@pytest.mark.parametrize(
    ("image", "version"),
    [("agent_image", DEFAULT_CLI_VERSION), ("old_agent_image", OLDEST_CLI_VERSION)],
)
def test_the_image_holds_the_pinned_cli_and_what_an_agent_works_with(
    image: str, version: str, start: Callable[..., Container], request: pytest.FixtureRequest
) -> None:
    container = start("cat", image=request.getfixturevalue(image), memory="1g")
    assert container.exec("claude --version").stdout.startswith(version)
    for program in ("git", "python3", "grep", "sed", "find", "diff", "ps", "timeout"):
        assert container.exec(f"command -v {program}").exit_code == 0, program
    commit = "git init -q /tmp/r && cd /tmp/r && git -c user.name=a -c user.email=b commit -q "
    assert container.exec(f"{commit} --allow-empty -m x && git log --oneline").stdout.strip()


def test_an_image_that_is_up_to_date_is_left_alone_and_found_at_once(
    agent_image: str, image_cache: Path
) -> None:
    started = time.monotonic()
    info = ensure_image(DEFAULT_CLI_VERSION, image_cache)
    assert (info.tag, info.built) == (agent_image, False)
    assert info.size_bytes > 100_000_000
    assert time.monotonic() - started < 6.0  # a build takes twelve


def test_an_image_is_rebuilt_when_asked_and_the_one_before_is_dropped(
    small_cache: Path, podman_environment: dict[str, str]
) -> None:
    steps: list[str] = []
    first = ensure_image(VERSION, small_cache, TAG, progress=steps.append)
    assert first.built
    assert any("building" in step for step in steps)
    before = image_id(podman_environment)
    assert not ensure_image(VERSION, small_cache, TAG).built
    assert ensure_image(VERSION, small_cache, TAG, force=True).built
    assert image_id(podman_environment) != before
    assert not image_exists(before, podman_environment)
    assert not [path for path in small_cache.iterdir() if path.is_dir()]


def image_id(env: dict[str, str]) -> str:
    args = ("image", "inspect", "--format={{.Id}}", TAG)
    return run_podman(*args, timeout_s=30, env=env).stdout.strip()


@pytest.mark.parametrize(
    ("body", "told"), [("echo 1.0.0", "it is 1.0.0, not 9.9.9"), ("exit 3", "does not work")]
)
def test_an_image_that_fails_its_try_out_does_not_get_the_name(
    body: str, told: str, small_cache: Path, podman_environment: dict[str, str]
) -> None:
    ensure_image(VERSION, small_cache, TAG)
    good = image_id(podman_environment)
    put_program(small_cache, body)
    with pytest.raises(ImageError, match=told) as caught:
        ensure_image(VERSION, small_cache, TAG, force=True)
    assert caught.value.kind == "smoke"
    assert image_id(podman_environment) == good


def test_two_builds_at_once_make_one_image(small_cache: Path) -> None:
    found: list[ImageInfo] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(ensure_image(VERSION, small_cache, TAG)),
            name=f"understudy-test-build-{n}",
        )
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(info.built for info in found) == [False, True]


def test_an_image_can_be_built_upon_another_one(
    small_cache: Path, agent_image: str, podman_environment: dict[str, str]
) -> None:
    assert ensure_image(VERSION, small_cache, TAG, base=agent_image).built
    assert not ensure_image(VERSION, small_cache, TAG, base=agent_image).built
    assert image_exists(TAG, podman_environment)


def test_a_base_image_that_is_not_there_is_named(small_cache: Path) -> None:
    with pytest.raises(ImageError, match="podman pull localhost/nowhere"):
        ensure_image(VERSION, small_cache, TAG, base="localhost/nowhere")
