"""After each test nothing may be left: no process, thread, descriptor or container of ours."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SETTLE_S = 5.0


def _descriptors() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the one that listed the folder
    return found


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith(("understudy", "Thread-"))}


def _settles(condition: Callable[[], bool]) -> bool:
    """Whether the condition holds soon: an end that is under way may take its moment."""
    ends = time.monotonic() + _SETTLE_S
    while not condition():
        if time.monotonic() > ends:
            return False
        gc.collect()
        time.sleep(0.01)
    return True


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a process, a thread or a descriptor."""
    children, threads, descriptors = _children(), _threads(), _descriptors()
    yield
    if not _settles(lambda: not (_threads() - threads)):
        pytest.fail(f"threads left: {_threads() - threads}")
    if not _settles(lambda: not (_children() - children)):
        pytest.fail(f"processes left: {[_command(p) for p in _children() - children]}")
    if not _settles(lambda: not (_descriptors().items() - descriptors.items())):
        pytest.fail(f"descriptors left: {_descriptors().items() - descriptors.items()}")
    if request.node.get_closest_marker("podman"):
        left = [name for name in _containers() if name not in _session_containers]
        if left and not _settles(lambda: not set(_containers()) & set(left)):
            pytest.fail(f"containers left: {left}")


_session_containers: set[str] = set()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return repr(process)


def _containers() -> list[str]:
    """The containers of ours that are left, by name."""
    if shutil.which("podman") is None:
        return []
    done = subprocess.run(
        ["podman", "ps", "-a", "--filter", "label=understudy.run", "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.split()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own: state, sockets and configuration go there; the image cache stays."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    run = Path("/tmp") / f"us-{os.getpid()}"  # short: a socket's path has at most 107 bytes
    run.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    socket = f"/tmp/us-{os.getpid()}/control.sock"
    monkeypatch.setenv("UNDERSTUDY_COMMUNICATION__SOCKET_PATH", socket)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL",
                 "CLAUDE_CODE_OAUTH_TOKEN", "UNDERSTUDY_CONFIG"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without podman: skip on a laptop, fail in CI."""
    if shutil.which("podman") or os.environ.get("CI"):
        return
    for item in items:
        if item.get_closest_marker("podman"):
            item.add_marker(pytest.mark.skip(reason="podman is not installed"))
