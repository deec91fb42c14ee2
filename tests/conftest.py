"""After each test nothing may be left: no process, thread, descriptor or container of ours."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# No example fails for being slow: hypothesis has that for CI, where `CI` is set, by itself.
if "CI" not in os.environ:
    hypothesis.settings.register_profile("busy", deadline=None)
    hypothesis.settings.load_profile("busy")

_SETTLE_S = 20.0
# Whatever is started here inherits it: so a process is known that has lost its parent, too.
_MARK = f"{os.getpid()}-{time.time_ns()}"
os.environ["TESTS_OF_PROCESS"] = _MARK


def _descriptors() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in Path("/proc/self/fd").iterdir():
        try:
            found[path.name] = str(path.readlink())
        except FileNotFoundError:
            continue  # the one that listed the folder
    return found


def _numbers() -> set[int]:
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()}


_BEFORE = _numbers()


def _children() -> set[psutil.Process]:
    """Descendants, and what else was started by these tests and now belongs to init."""
    found = set(psutil.Process().children(recursive=True))
    for number in _numbers() - _BEFORE - {process.pid for process in found}:
        with contextlib.suppress(OSError, psutil.Error):
            if _MARK.encode() in Path(f"/proc/{number}/environ").read_bytes():
                found.add(psutil.Process(number))
    return found


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
    """Fail the test that leaves a process, a thread, a descriptor or a container."""
    children, threads, descriptors = _children(), _threads(), _descriptors()
    yield
    if not _settles(lambda: not (_threads() - threads)):
        pytest.fail(f"threads left: {_threads() - threads}")
    if not _settles(lambda: not (_children() - children)):
        pytest.fail(f"processes left: {[_command(p) for p in _children() - children]}")
    if not _settles(lambda: not (_descriptors().items() - descriptors.items())):
        pytest.fail(f"descriptors left: {_descriptors().items() - descriptors.items()}")
    if request.node.get_closest_marker("podman") and not _settles(lambda: not _containers()):
        left = _containers()
        _CONTAINERS_KNOWN.update(left)  # one test is to blame, not each that comes after it
        pytest.fail(f"containers left: {sorted(left)}")


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return repr(process)


def _containers() -> set[str]:
    """The containers of ours that these tests left, by name.

    Those whose owner lives and is not ours are another run's.
    """
    ours = {process.pid for process in psutil.Process().children(recursive=True)} | {os.getpid()}
    return {
        name
        for name, owner in _owners_of_containers().items()
        if name not in _CONTAINERS_KNOWN and (owner in ours or not psutil.pid_exists(owner))
    }


def _owners_of_containers() -> dict[str, int]:
    if shutil.which("podman") is None:
        return {}
    done = subprocess.run(
        ["podman", "ps", "-a", "--filter", "label=understudy.run", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return {
        name: int(container["Labels"].get("understudy.owner_pid", 0))
        for container in json.loads(done.stdout or "[]")
        for name in container["Names"]
    }


# What was there before is not these tests' doing.
_CONTAINERS_KNOWN = set(_owners_of_containers())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own for state, sockets and configuration; the image cache stays."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    run = tempfile.mkdtemp(prefix="us-", dir="/tmp")  # short: a socket's path has 107 bytes at most
    monkeypatch.setenv("XDG_RUNTIME_DIR", run)
    monkeypatch.setenv("UNDERSTUDY_COMMUNICATION__SOCKET_PATH", f"{run}/control.sock")
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL",
                 "CLAUDE_CODE_OAUTH_TOKEN", "UNDERSTUDY_CONFIG"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    shutil.rmtree(run)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without podman: skip on a laptop, fail in CI."""
    if shutil.which("podman") or os.environ.get("CI"):
        return
    for item in items:
        if item.get_closest_marker("podman"):
            item.add_marker(pytest.mark.skip(reason="podman is not installed"))
