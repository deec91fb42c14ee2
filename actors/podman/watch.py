"""Knowing at once that a process has ended, though it is no child of ours: a pidfd and a thread."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class PidWatch:
    """Watches one process by its pidfd; any thread may ask.

    A pidfd becomes readable 0.7 ms after the process ended; `podman wait` takes up to 280 ms, and
    hangs for ever when conmon was killed.

    Args:
        pid: the process.
        name: for the thread's name.
        on_end: called once in the watching thread as soon as the process has ended.
    """

    def __init__(self, pid: int, *, name: str, on_end: Callable[[], object]) -> None:
        self.pid = pid
        self._on_end = on_end
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._pidfd = -1
        self._wake_r, self._wake_w = os.pipe()
        self._thread = threading.Thread(
            target=self._watch, name=f"understudy-watch-{name}", daemon=True
        )
        with contextlib.suppress(ProcessLookupError):  # gone already: told by ended() like any end
            self._pidfd = os.pidfd_open(pid)
        self._thread.start()

    def ended(self) -> bool:
        """Whether the process has ended."""
        with self._lock:
            return self._ended.is_set() or self._pidfd < 0 or _is_readable(self._pidfd, 0)

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for the end, for ever with None; whether it came."""
        return self._ended.wait(timeout_s)

    def kill(self) -> None:
        """Send SIGKILL to exactly this process; nothing when it has ended.

        Raises:
            PermissionError: it belongs to another user.
        """
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Stop watching and free the descriptors. Safe to call twice."""
        with self._lock:
            wake, self._wake_w = self._wake_w, -1
        if wake < 0:
            return
        os.close(wake)
        self._thread.join()
        with self._lock:
            pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    def _watch(self) -> None:
        try:
            if self._pidfd < 0 or self._end_comes_before_close():
                self._on_end()
                self._ended.set()
        finally:
            os.close(self._wake_r)

    def _end_comes_before_close(self) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        return any(fd == self._pidfd for fd, _ in poll.poll())


def _is_readable(fd: int, timeout_ms: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_ms))
