"""The guard: removes a run's containers when its owner is gone. A program, run by `Guard`.

It stands alone on purpose: started by its path with `python -I -S`, it imports nothing of the
project, stays near 10 MB, and works while the rest is falling.

usage: python -I -S guard_process.py RUN_LABEL_FILTER
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

# The owner closes the pipe with this byte when it ends in order: one look is enough then.
ORDERLY = b"."
_QUIET_S = 3.0
_LIMIT_S = 120.0
_POLL_S = 0.3
_COMMAND_TIMEOUT_S = 30.0


def main(label_filter: str) -> None:
    """Wait until stdin ends, then remove what carries the label until nothing more comes."""
    # Ctrl-C and a service manager's SIGTERM are for the owner; the guard leaves after it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    orderly = _wait_for_owner()
    started = quiet_since = time.monotonic()
    while time.monotonic() - started < _LIMIT_S:
        is_clear = _remove(label_filter)
        if orderly and is_clear is not False:
            return
        if not is_clear:
            # Podman clients that were at work when the owner died may still add containers.
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= _QUIET_S:
            return
        time.sleep(_POLL_S)


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
    main(sys.argv[1])
