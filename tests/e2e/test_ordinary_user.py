"""The whole program as a user who is not root, with podman's containers of that user's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.program import Program

import understudy
from understudy.actors.paths import cache_dir
from understudy.actors.podman import DEFAULT_CLI_VERSION

pytestmark = [
    pytest.mark.podman,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user"),
    pytest.mark.skipif(shutil.which("newuidmap") is None, reason="uidmap is not installed"),
    pytest.mark.timeout(300),
]

USER = f"understudy-test-{os.getpid()}"
ALL_LIMITS = "agent.allow_missing_limits=memory,pids,cpu"
PACKAGES = [path for path in sys.path if "site-packages" in path]
MODULES = [str(Path(understudy.__file__).parents[1]), *PACKAGES]


def python_for(user: int) -> str | None:
    """A Python of this release that the user may run; the one we run in may be root's own."""
    for program in (sys.executable, "/usr/bin/python3"):
        asked = [program, "-c", "import sys; print(sys.version_info[:2])"]
        try:
            done = subprocess.run(asked, user=user, capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.stdout.strip() == str(sys.version_info[:2]):
            return program
    return None


def give(path: Path, user: int) -> None:
    for place in (path, *path.rglob("*")):
        os.chown(place, user, user, follow_symlinks=False)


@pytest.fixture(scope="module")
def user() -> Iterator[tuple[int, Path]]:
    """A new user with a home; both are gone at the end, with all that is the user's."""
    home = Path("/home") / USER  # pytest's own folders are closed to other users
    subprocess.run(["useradd", "--user-group", "-m", "-d", home, USER], check=True, timeout=30)
    uid = home.stat().st_uid
    try:
        (home / "run").mkdir(mode=0o700)
        storage = home / ".config/containers/storage.conf"
        storage.parent.mkdir(parents=True)
        # What doctor says to do about the slow default.
        storage.write_text('[storage]\ndriver = "overlay"\n')
        binary = f"claude-{DEFAULT_CLI_VERSION}"
        cache = home / ".cache/understudy"
        cache.mkdir(parents=True)
        if (here := cache_dir(os.environ) / binary).exists():
            shutil.copy(here, cache / binary)
        shutil.copytree(Path(understudy.__file__).parent / "demo_repo", home / "repo")
        give(home, uid)
        yield uid, home
    finally:
        _end_all_of(uid)
        subprocess.run(["userdel", "--force", USER], check=True, capture_output=True, timeout=30)
        # Files of the user's containers belong to numbers of the user's range.
        shutil.rmtree(home)


def _end_all_of(uid: int) -> None:
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if place.stat().st_uid == uid:
                os.kill(int(place.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.fixture
def theirs(user: tuple[int, Path]) -> Iterator[Program]:
    """`understudy` as that user runs it."""
    uid, home = user
    python = python_for(uid)
    if python is None:
        pytest.skip("no Python that another user may run")
    env = {
        "HOME": str(home),
        "USER": USER,
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(home / "run"),
        "UNDERSTUDY_COMMUNICATION__SOCKET_PATH": str(home / "run/control.sock"),
        "PYTHONPATH": ":".join(MODULES),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    made = Program(home / "repo", env, python=python, user=uid)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def containers_of(program: Program) -> list[str]:
    done = subprocess.run(
        ["podman", "ps", "-aq"], user=program.user, group=program.user, extra_groups=[],
        cwd=program.cwd, env=program.env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_an_ordinary_user_builds_the_image_runs_tasks_and_audits_an_agent(
    theirs: Program, until: Callable[..., Any]
) -> None:
    built = theirs.run("image", "build", "--json", timeout_s=200)
    assert built.code == 0, built.err
    missing = missing_limits(theirs)
    settings = ("--set", ALL_LIMITS) if missing else ()
    assert theirs.run("doctor", "--json", *settings).json["ready"]
    if missing:  # control groups of version 1: refused, unless all of them may lack
        refused = theirs.run("run", "x", "--fake", "--set", "agent.allow_missing_limits=memory")
        assert refused.code == 3
        assert "cannot limit pids, cpu here" in refused.err
        assert "agent.allow_missing_limits: [memory, pids, cpu]" in refused.err
    done = theirs.run("demo", "--json", *settings, timeout_s=120)
    assert done.code == 0, done.err
    assert {result["status"] for result in done.json["results"]} == {"success"}
    service = theirs.serve("--fake", "--agents", "1", *settings)

    def ready() -> bool:
        agents = theirs.run("status", "--json").json["agents"]
        return bool(agents["agent_000"]["state"] == "ready")

    until(ready)
    audit = theirs.run("audit", "agent_000", "--json")
    assert [line for line in audit.json["lines"] if line["verdict"] != "ok"] == []
    assert audit.code == 0
    theirs.end(service)
    assert containers_of(theirs) == []


def missing_limits(program: Program) -> bool:
    checks = program.run("doctor", "--json").json["checks"]
    groups = next(check for check in checks if check["name"] == "control groups")
    return bool(groups["status"] == "fail")
