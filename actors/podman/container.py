"""One running container, whose program holds our pipes directly."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from ..errors import PodmanError
from .argv import ContainerSpec, cid_file, run_argv
from .command import end_client, failure, run_podman, start_client
from .limits import OomCounter
from .machine import Machine, refuse_missing_limits
from .names import owner_labels
from .removal import remove_containers
from .sweep import remove_left
from .watch import PidWatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_START_TIMEOUT_S = 60.0
_REMOVE_TIMEOUT_S = 30.0
_CLIENT_SLACK_S = 10.0
_EVENTS_TIMEOUT_S = 10.0
_EVENTS_POLL_S = 0.05
_STDERR_BYTES = 64 << 10
# podman's own failures in `podman exec`; 126 and 127 are also what a missing program gives.
_EXEC_FAILED = {125, 255}


@dataclass
class CommandResult:
    """What a command in a container did. `timestamp` is when it ended, in epoch seconds."""

    command: str
    stdout: str
    stderr: str
    exit_code: int
    timestamp: float


@dataclass(frozen=True)
class _Pipes:
    stdin: BinaryIO
    stdout: BinaryIO
    stderr: BinaryIO


class Container:
    """A container made from a spec, once.

    After `start` no client process stays between: the program inside reads and writes our pipes,
    sees end of file on stdin when this process dies, and its own end is known here within a
    millisecond. Methods may be called from any thread; `start`, `stop` and `remove` by one thread
    at a time.

    Args:
        spec: what to run; labels that name this process as the owner are added.
        env: environment of the podman commands (see `podman_env`).
    """

    def __init__(self, spec: ContainerSpec, *, env: Mapping[str, str]) -> None:
        self.spec = replace(spec, labels={**owner_labels(), **spec.labels})
        self.container_id = ""
        self._env = dict(env)
        self._pipes: _Pipes | None = None
        self._watch: PidWatch | None = None
        self._oom: OomCounter | None = None
        self._files: Path | None = None
        self._started_at = 0.0
        # Whether a container of this name would be the one that we made.
        self._is_ours = False

    # -- life ---------------------------------------------------------------------------------

    def start(self, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Make and start the container; returns when its first process runs (about 0.1 s).

        Raises:
            MachineNotReady: a limit cannot be kept here, and may not lack.
            PodmanError: it could not be started; nothing of it is left. The kind tells why
                (image_missing, name_in_use, mount_missing, …).
        """
        if self._pipes is not None:
            raise RuntimeError(f"{self.spec.name} was started before")
        machine = Machine.here()
        refuse_missing_limits(machine, self.spec.missing_limits)
        self._started_at = time.time()
        # Beside the home, so that what a killed process leaves goes with its run's folder.
        self._files = Path(tempfile.mkdtemp(dir=self.spec.home_dir.parent, prefix="start-"))
        try:
            self._run(self._files / "container.pid", timeout_s, machine)
        except BaseException:
            self.close()
            raise

    def stop(self, grace_s: float = 2.0) -> None:
        """End of file on stdin, up to `grace_s` for the program to end, then removal.

        stdout and stderr stay open for whoever still reads the rest; `close` frees them.

        Raises:
            PodmanError: podman could not remove it.
        """
        closing: threading.Thread | None = None
        if self._pipes is not None and self.alive() and grace_s > 0:
            # A writer that is stuck on a full pipe holds the file's lock; closing waits for it, so
            # we do not wait for closing.
            closing = threading.Thread(
                target=self._close_stdin, name=f"understudy-eof-{self.spec.name}", daemon=True
            )
            closing.start()
            self.wait(grace_s)
        self.remove()
        if closing is not None:
            closing.join()
        self._close_stdin()

    def kill(self) -> None:
        """End it at once. It is removed by podman itself a moment later, or by `remove`.

        Raises:
            PodmanError: podman was needed for it and failed.
        """
        if self._watch is None:
            return
        try:
            self._watch.kill()
        except PermissionError:
            run_podman("kill", self.spec.name, timeout_s=_REMOVE_TIMEOUT_S, env=self._env)

    def remove(self) -> None:
        """Kill it if it runs, and have no record of it left. Safe to call twice.

        Raises:
            PodmanError: podman failed.
        """
        if not self._is_ours:
            return
        try:
            remove_containers([self.spec.name], self._env)
        except PodmanError as error:
            if error.kind != "timeout":
                raise
            # The client that was ended may have forgotten it.
            remove_left(self.spec.name, self._env)
        if self._watch is not None:
            self._watch.wait(_REMOVE_TIMEOUT_S)
            self._watch.close()

    def close(self) -> None:
        """Free pipes and descriptors. Safe to call twice; the container is not touched."""
        if self._watch is not None:
            self._watch.close()
        self._close_stdin()
        if self._pipes is not None:
            self._pipes.stdout.close()
            self._pipes.stderr.close()
        if self._files is not None:
            self.oom()  # a last look, before there is nothing to look at
            shutil.rmtree(self._files, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            self.stop()
        finally:
            self.close()

    # -- what it is doing ---------------------------------------------------------------------

    @property
    def stdin(self) -> BinaryIO:
        """The program's stdin."""
        return self._started().stdin

    @property
    def stdout(self) -> BinaryIO:
        """The program's stdout; ends when every process in the container has ended."""
        return self._started().stdout

    @property
    def stderr(self) -> BinaryIO:
        """The program's stderr, also what podman had to say while starting."""
        return self._started().stderr

    @property
    def pid(self) -> int | None:
        """The number of its first process on this machine, or None before the start."""
        return self._watch.pid if self._watch else None

    def alive(self) -> bool:
        """Whether its first process runs."""
        return self._watch is not None and not self._watch.ended()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end, for ever with None; whether it has ended."""
        return self._watch is None or self._watch.wait(timeout_s)

    def oom(self) -> bool:
        """Whether a process in it was killed because its memory limit was reached."""
        return self._oom is not None and self._oom.sample()

    def exit_code(self, timeout_s: float = 2.0) -> int | None:
        """What the program ended with (128 + signal for a signal), or None when it is not known.

        Best effort: read from podman's events, which lag 0.1 s behind; takes up to `timeout_s`
        longer when there is none.

        Raises:
            PodmanError: podman failed.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            code = self._exit_code_in_events()
            if code is not None or self.alive() or time.monotonic() >= deadline:
                return code
            time.sleep(_EVENTS_POLL_S)

    def exec(self, command: str | Sequence[str], timeout_s: float = 30.0) -> CommandResult:
        """Run a short command in the container: a text by bash, a list as it is.

        After `timeout_s` it is ended inside, with exit code 124: a dead client would leave it
        running.

        Raises:
            PodmanError: the container does not run, or podman failed.
        """
        program = ["bash", "-c", command] if isinstance(command, str) else list(command)
        bounded = ["timeout", "-k", "1", f"{timeout_s:g}", *program]
        args = ("exec", self.spec.name, *bounded)
        done = run_podman(*args, timeout_s=timeout_s + _CLIENT_SLACK_S, env=self._env, check=False)
        if done.returncode in _EXEC_FAILED and done.stderr.startswith("Error: "):
            raise failure(("podman", *args), done.returncode, done.stderr)
        shown = command if isinstance(command, str) else " ".join(command)
        return CommandResult(shown, done.stdout, done.stderr, done.returncode, time.time())

    # -- inside -------------------------------------------------------------------------------

    def _started(self) -> _Pipes:
        if self._pipes is None:
            raise RuntimeError(f"{self.spec.name} is not started")
        return self._pipes

    def _close_stdin(self) -> None:
        if self._pipes is not None:
            # What was buffered for a program that has ended is for nobody.
            with contextlib.suppress(BrokenPipeError):
                self._pipes.stdin.close()

    def _run(self, pidfile: Path, timeout_s: float, machine: Machine) -> None:
        argv = run_argv(self.spec, detach=True, pidfile=pidfile, machine=machine)
        client = self._start_client(argv, pidfile.parent)
        try:
            exit_code: int | None = client.wait(timeout_s)
        except subprocess.TimeoutExpired:
            end_client(client)
            exit_code = None
        if exit_code != 0:
            raise self._failed_start(argv, exit_code)
        self._is_ours = True
        self.container_id = cid_file(pidfile).read_text(encoding="ascii").strip()
        pid = int(pidfile.read_text(encoding="ascii"))
        self._oom = oom = OomCounter(pid, pidfile.parent / "oom")
        self._watch = PidWatch(pid, name=self.spec.name, on_end=oom.sample)

    def _start_client(self, argv: list[str], cwd: Path) -> subprocess.Popen[str]:
        # Conmon keeps the working directory, and leaves a file `oom` there when memory ran out.
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            ends: list[int] = []
            for write_to_it in (True, False, False):
                read_fd, write_fd = os.pipe()
                its, mine = (read_fd, write_fd) if write_to_it else (write_fd, read_fd)
                theirs.callback(os.close, its)
                ours.callback(os.close, mine)
                ends += [its, mine]
            stdin, stdout, stderr = ends[0::2]
            client = start_client(
                argv, env=self._env, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd
            )
            ours.pop_all()
        self._pipes = _Pipes(
            os.fdopen(ends[1], "wb"), os.fdopen(ends[3], "rb"), os.fdopen(ends[5], "rb")
        )
        return client

    def _failed_start(self, argv: list[str], exit_code: int | None) -> PodmanError:
        said = _read_what_is_there(self._started().stderr)
        error = failure(argv, exit_code, said)
        self._is_ours = error.kind != "name_in_use"
        if exit_code is None:
            # The client had to be ended: it may have forgotten what it made, or not be the last.
            remove_left(self.spec.name, self._env)
        self.remove()
        return error

    def _exit_code_in_events(self) -> int | None:
        since = str(int(self._started_at))
        done = run_podman(
            *("events", "--stream=false", f"--since={since}", "--format=json"),
            *(f"--filter=container={self.spec.name}", "--filter=event=died"),
            timeout_s=_EVENTS_TIMEOUT_S,
            env=self._env,
        )
        for line in reversed(done.stdout.splitlines()):
            # Podman 4.3 leaves the field out when the code is 0.
            return int(json.loads(line).get("ContainerExitCode", 0))
        return None


def _read_what_is_there(pipe: BinaryIO) -> str:
    # Not to the end: a half-started conmon may still hold the other side.
    os.set_blocking(pipe.fileno(), False)
    with contextlib.suppress(BlockingIOError):
        return os.read(pipe.fileno(), _STDERR_BYTES).decode(errors="replace")
    return ""
