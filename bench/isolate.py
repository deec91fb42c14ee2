"""A program in a fresh process group, with a limit; nothing of it is left afterwards."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

# prctl(2): whom a process becomes a child of when its parent has ended.
_PR_SET_CHILD_SUBREAPER = 36
# What a contender's processes may take to end after the program did.
_SETTLE_S = 2.0
_ERROR_CHARS = 400


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: its exit code; None when it took too long and was ended.
        out: what it wrote to standard output.
        error: the end of what it wrote to standard error.
        left: commands of processes that it left behind, and that were ended.
    """

    code: int | None
    out: str
    error: str
    left: tuple[str, ...]


@contextmanager
def _adopting() -> Generator[None]:
    """Orphans of what we start become our children, so that none is lost sight of."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def run(command: Sequence[str], *, limit_s: float, cwd: Path, env: Mapping[str, str]) -> Ended:
    """Run a program until it ends or the limit is over, then end whatever it started.

    Called from one thread at a time: a descendant that was not there before is the program's.
    """
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, _adopting():
        # Files, not pipes: a daemon that holds a pipe's other end would keep us reading.
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL,
            stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        code: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=limit_s)
        finally:
            left = _end_all(process, before, patient=code is not None)
        return Ended(code, _read(out), _read(err)[-_ERROR_CHARS:].strip(), left)


def _end_all(
    process: subprocess.Popen[bytes], before: set[int], *, patient: bool
) -> tuple[str, ...]:
    """End the process, its group and every other descendant; what was left behind."""
    ends = time.monotonic() + (_SETTLE_S if patient else 0.0)
    while (found := _descendants(before)) and time.monotonic() < ends:
        time.sleep(0.02)
    left = tuple(name for child in found if (name := _name(child)))
    while found:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for child in found:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        time.sleep(0.02)
        found = _descendants(before)
    process.wait()
    return left


def _descendants(before: set[int]) -> list[psutil.Process]:
    """What runs below us that did not before; what has ended is reaped."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children(recursive=True):
        if child.pid in before:
            continue
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
            elif child.ppid() == os.getpid():
                with suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)
    return found


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())[:80] or process.name()
    return ""


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
