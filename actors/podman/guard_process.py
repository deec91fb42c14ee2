"""The guard: ends what is left of a run when its owner is gone. A program, run by `Guard`.

It stands alone on purpose: started by its path with `python -I -S`, it imports nothing of the
project, stays near 10 MB, and works while the rest is falling.

usage: python -I -S guard_process.py RUN_LABEL_FILTER [MARK]
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False  # typing would be a third of its memory
if TYPE_CHECKING:
    from collections.abc import Callable

# The owner closes the pipe with this byte when it ends in order: one look is enough then.
ORDERLY = b"."
_QUIET_S = 3.0
_LIMIT_S = 120.0
_POLL_S = 0.3
_COMMAND_TIMEOUT_S = 30.0
# Children end by themselves when their owner is gone, and their fork server sees to it for so long.
_OWN_END_S = 3.0
# See `clients.py`.
_CLIENT_LIMIT_S = 10.0
_CLIENT_GRACE_S = 5.0


def main(label_filter: str, mark: str = "") -> None:
    """Wait until stdin ends, then end what carries label or mark until nothing more comes.

    After an orderly end only containers are looked for: the fork server is still at work.
    """
    # Ctrl-C and a service manager's SIGTERM are for the owner; the guard leaves after it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    orderly = _wait_for_owner()
    started = quiet_since = time.monotonic()
    while time.monotonic() - started < _LIMIT_S:
        left = 0 if orderly or not mark else _end_orphans(mark, time.monotonic() - started)
        is_clear = _remove(label_filter)
        # A client that was at work when the owner died may still make a container.
        if left or _end_clients(b"--" + label_filter.encode(), time.monotonic() - started):
            is_clear = False
        if orderly and is_clear is not False:
            return
        if not is_clear:
            # For as long as a process that just begins to be a podman client is not known as one.
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= _QUIET_S:
            return
        time.sleep(_POLL_S)


def end_marked(mark: str, *, only_stopped: bool = False) -> int:
    """Kill every process that has the mark in its environment; how many there were.

    A pidfd holds on to each before it is looked at: one that gets its number later is not hit.

    Args:
        mark: an entry `NAME=value`; it is random, and inherited from one fork server alone.
        only_stopped: leave those that can still end by themselves; they are counted.
    """
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - see above
    return sum(_end_if_marked(pid, mark.encode(), only_stopped=only_stopped) for pid in pids)


def held_clients(is_it: Callable[[list[bytes]], bool]) -> list[int]:
    """The pidfds of this user's `podman run` clients whose command lines are such; to be closed."""
    held: list[int] = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - see below
        if name.isdecimal() and int(name) != os.getpid():
            with contextlib.suppress(OSError):  # it has ended
                pidfd = os.pidfd_open(int(name))
                if _is_client(int(name), is_it):
                    held.append(pidfd)
                else:
                    os.close(pidfd)
    return held


def _is_client(pid: int, is_it: Callable[[list[bytes]], bool]) -> bool:
    try:
        argv = _read(pid, "cmdline").split(b"\0")
        users = _read(pid, "status").partition(b"\nUid:")[2].split(None, 2)
    except OSError:
        return False
    # The second word's name, where podman is a script of the machine's own.
    is_podman = any(word.rpartition(b"/")[2] == b"podman" for word in argv[:2])
    return is_podman and b"run" in argv and int(users[1]) == os.geteuid() and is_it(argv)


def _end_clients(label: bytes, since_s: float) -> int:
    """End the clients with that label as `await_clients` does; how many there are."""
    pidfds = held_clients(lambda argv: label in argv)
    for pidfd in pidfds:
        with contextlib.suppress(ProcessLookupError):
            if since_s >= _CLIENT_LIMIT_S + _CLIENT_GRACE_S:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            elif since_s >= _CLIENT_LIMIT_S:
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                signal.pidfd_send_signal(pidfd, signal.SIGCONT)
        os.close(pidfd)
    return len(pidfds)


def _end_orphans(mark: str, since_s: float) -> int:
    return end_marked(mark, only_stopped=since_s < _OWN_END_S)


def _end_if_marked(pid: int, mark: bytes, *, only_stopped: bool) -> bool:
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        pidfd = os.pidfd_open(pid)
        try:
            if mark not in _read(pid, "environ").split(b"\0"):
                return False
            state = _read(pid, "stat").rpartition(b")")[2].split()[0]
            if not only_stopped or state in b"Tt":
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return True
        finally:
            os.close(pidfd)
    return False


def _read(pid: int, file: str) -> bytes:
    with open(f"/proc/{pid}/{file}", "rb") as opened:  # noqa: PTH123 - pathlib would be half of its memory
        return opened.read()


def _wait_for_owner() -> bool:
    said = b""
    while chunk := os.read(sys.stdin.fileno(), 16):
        said = chunk
    return said == ORDERLY


def _remove(label_filter: str) -> bool | None:
    """Whether there was nothing to remove; None when podman could not tell."""
    listed = _podman("ps", "--all", "--quiet", "--no-trunc", f"--filter={label_filter}")
    if listed:
        _podman("rm", "--force", "--ignore", "--time=0", *listed.split())
    return None if listed is None else not listed


def _podman(*args: str) -> str | None:
    """What it printed, or None when it failed or hung; the next round tries again."""
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        done = subprocess.run(
            ["podman", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=_COMMAND_TIMEOUT_S,
        )
        return done.stdout.strip() if done.returncode == 0 else None
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
