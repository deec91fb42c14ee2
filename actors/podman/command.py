"""Running podman: its environment, its time limit, and its failures told by kind."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING

from ..errors import PodmanError
from .containers_conf import write_conf
from .machine import Machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

# Secrets, which podman has no need of; what would make a container part of the talk with a service
# manager; what would turn the client to another machine, where our pipes do not reach.
_LEFT_OUT = re.compile(
    r"ANTHROPIC_|CLAUDE_CODE_OAUTH|NOTIFY_SOCKET$|LISTEN_(FDS|PID|FDNAMES)$|"
    r"CONTAINER_(HOST|CONNECTION|SSHKEY)$"
)
_COMMAND_CHARS = 120
_STDERR_CHARS = 2000
_TERM_GRACE_S = 5.0

# What podman 4.3 to 5 say, the kind it is given here, and what mends it.
_KNOWN_FAILURES: tuple[tuple[str, str, str], ...] = (
    (r"name .* is already in use", "name_in_use", "a container of that name is there"),
    (
        r"image not known|no such image|unable to find .* in local storage",
        "image_missing",
        "build it with `understudy image build`",
    ),
    (
        r"no such container|no container with name or ID|determining buildah container",
        "no_such_container",
        "",
    ),
    (
        r"(statfs|stat|lstat) .*: no such file or directory",
        "mount_missing",
        "a folder to be mounted is not there",
    ),
    (r"unknown (shorthand )?flag|invalid (argument|value) .*", "bad_option", ""),
    (
        r"cgroups in hybrid mode|error setting rlimit|cgroup controller .* is not available",
        "runtime_refused",
        "run `understudy doctor`",
    ),
    (r"no space left on device", "disk_full", "free some disk space"),
    (r"container state improper|can only create exec sessions on running", "not_running", ""),
)
_MISSING_HINT = "install podman (`understudy doctor --fix`), or put it on PATH"


def podman_env(cache_dir: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for podman commands: `env` (default: the process's) without secrets.

    Where the machine needs a private containers.conf, it is written into `cache_dir` and named,
    unless the caller's environment names one already.
    """
    given = os.environ if env is None else env
    clean = {name: value for name, value in given.items() if not _LEFT_OUT.match(name)}
    if "CONTAINERS_CONF" not in clean:
        conf = write_conf(cache_dir, Machine.here())
        if conf is not None:
            clean["CONTAINERS_CONF"] = str(conf)
    return clean


def run_podman(
    *args: str, timeout_s: float, env: Mapping[str, str], check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `podman args…` to its end; the output is text.

    Any thread; blocks at most `timeout_s` and what it takes to end a stuck client (10 s).

    Raises:
        PodmanError: podman is not there, did not end in time or (with `check`) failed.
    """
    argv = ["podman", *args]
    client = start_client(argv, env=env)
    try:
        stdout, stderr = client.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        end_client(client)
        raise _did_not_end(argv, timeout_s) from None
    if check and client.returncode:
        raise failure(argv, client.returncode, stderr)
    return subprocess.CompletedProcess(argv, client.returncode, stdout, stderr)


def start_client(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    cwd: Path | None = None,
) -> subprocess.Popen[str]:
    """Start a podman client in a session of its own.

    A client that dies with its starter's process group while it creates a container leaves a
    half-made container that podman 4.3 itself cannot see.

    Raises:
        PodmanError: podman cannot be run.
    """
    try:
        return subprocess.Popen(
            argv,
            env=dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        text = as_text(argv)
        raise PodmanError(text, None, str(error), _MISSING_HINT, "podman_missing") from None


def end_client(client: subprocess.Popen[str]) -> None:
    """End a client that took too long: SIGTERM first, because it may hold podman's lock."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        client.send_signal(number)
        try:
            client.communicate(timeout=_TERM_GRACE_S)
        except subprocess.TimeoutExpired:
            _log.warning("podman client %d did not end by %s", client.pid, number.name)
        else:
            return


def failure(argv: Sequence[str], exit_code: int | None, stderr: str) -> PodmanError:
    """The error for a podman command that ended with that code and said that."""
    said = stderr.strip()[-_STDERR_CHARS:]
    for pattern, kind, hint in _KNOWN_FAILURES:
        if re.search(pattern, said, re.IGNORECASE):
            return PodmanError(as_text(argv), exit_code, said, hint, kind)
    return PodmanError(as_text(argv), exit_code, said)


def as_text(argv: Sequence[str]) -> str:
    """A command as one line, shortened: enough to know it again in a log."""
    text = shlex.join(argv)
    return text if len(text) <= _COMMAND_CHARS else text[:_COMMAND_CHARS] + " …"


def _did_not_end(argv: Sequence[str], timeout_s: float) -> PodmanError:
    said = f"no end after {timeout_s:g} s"
    return PodmanError(as_text(argv), None, said, "see `podman ps -a` and `podman info`", "timeout")
