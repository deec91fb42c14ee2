"""The three pipes of a CLI: bounded writes, and one thread that reads both outputs."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

from .errors import ClaudeDied, ClaudeUnresponsive
from .lines import LineSplitter, LineTooLong

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_BYTES = 1 << 16
_STDERR_KEPT_BYTES = 1 << 16
# A dying program's last words on stderr may come a moment after its stdout has ended.
_LAST_WORDS_S = 0.5
_JOIN_S = 5.0
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Pipes:
    """Takes over the three files of a CLI and closes them at the end.

    `on_line` is called with each line of stdout, `on_stderr` with each piece of stderr, and
    `on_end` once when no more can come, with the reason; all in the reader's thread.
    """

    def __init__(
        self,
        stdin: BinaryIO,
        stdout: BinaryIO,
        stderr: BinaryIO | None,
        *,
        on_line: Callable[[bytes], None],
        on_end: Callable[[str], None],
        on_stderr: Callable[[bytes], None] | None = None,
        line_limit_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = [file for file in (stdin, stdout, stderr) if file is not None]
        self._stdin = stdin
        self._on_line = on_line
        self._on_end = on_end
        self._on_stderr = on_stderr
        self._clock = clock
        self._lines = LineSplitter(line_limit_bytes)
        self._write_lock = threading.Lock()
        self._stderr_lock = threading.Lock()
        self._stderr = bytearray()
        # The reader has descriptors of its own: the owner may close his while it still reads, and
        # the number could by then be another file's.
        self._out_fd = os.dup(stdout.fileno())
        self._err_fd = os.dup(stderr.fileno()) if stderr is not None else -1
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(stdin.fileno(), False)
        self._reader = threading.Thread(target=self._read, name="understudy-claude", daemon=True)
        self._closed = False

    def start(self) -> None:
        """Start reading."""
        self._reader.start()

    def stderr_tail(self) -> str:
        """The last 64 KiB that came on stderr. Any thread."""
        with self._stderr_lock:
            return self._stderr.decode(errors="replace")

    def write(self, data: bytes, timeout_s: float) -> None:
        """Write all of it. Any thread; one write at a time.

        Raises:
            ClaudeDied: nobody reads any more.
            ClaudeUnresponsive: the pipe stayed full. What was written may be torn, so the pipe is
                closed: a torn line must not be completed by the next one.
        """
        deadline = self._clock() + timeout_s
        if not self._write_lock.acquire(timeout=timeout_s):
            raise ClaudeUnresponsive("read its input", timeout_s)
        try:
            self._write_all(memoryview(data), deadline, timeout_s)
        except (OSError, ValueError) as error:
            raise ClaudeDied("the CLI no longer reads its input", self.stderr_tail()) from error
        finally:
            self._write_lock.release()

    def _write_all(self, left: memoryview, deadline: float, timeout_s: float) -> None:
        while left:
            try:
                left = left[os.write(self._stdin.fileno(), left) :]
            except BlockingIOError:
                if not self._wait_writable(deadline):
                    self._close_file(self._stdin)
                    raise ClaudeUnresponsive("read its input", timeout_s) from None

    def _wait_writable(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._stdin.fileno(), select.POLLOUT)
        return bool(poll.poll(max(0.0, deadline - self._clock()) * 1000))

    def end_input(self) -> None:
        """Close the input; both outputs are still read. Any thread; a write under way comes first.

        Raises:
            ClaudeUnresponsive: a write is stuck, and the input stays open.
        """
        if not self._write_lock.acquire(timeout=_JOIN_S):
            raise ClaudeUnresponsive("read its input", _JOIN_S)
        try:
            self._close_file(self._stdin)
        finally:
            self._write_lock.release()

    def close(self) -> None:
        """End the input, stop the reader, close all files. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake_write, b"x")
        if self._reader.ident is not None:
            self._reader.join(_JOIN_S)
        for file in self._files:
            self._close_file(file)
        for fd in (self._out_fd, self._err_fd, self._wake_read, self._wake_write):
            if fd >= 0:
                os.close(fd)

    def _close_file(self, file: BinaryIO) -> None:
        with contextlib.suppress(OSError):  # the other end is gone, there is nothing to flush to
            file.close()

    # -- the reader's thread ------------------------------------------------------------------

    def _read(self) -> None:
        reason = "closed by its owner"
        try:
            if not self._read_until_end():
                return
            self._read_last_words()
            reason = "the CLI ended"
        except LineTooLong as error:
            reason = f"the CLI wrote {error}"
        finally:
            self._on_end(reason)

    def _read_until_end(self) -> bool:
        """Whether stdout ended; False when `close` was called."""
        poll = select.poll()
        for fd in (self._out_fd, self._err_fd, self._wake_read):
            if fd >= 0:
                poll.register(fd, _READABLE)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake_read in ready:
                return False
            if self._err_fd in ready and not self._read_stderr():
                poll.unregister(self._err_fd)
            if self._out_fd in ready:
                chunk = os.read(self._out_fd, _CHUNK_BYTES)
                if not chunk:
                    return True
                for line in self._lines.feed(chunk):
                    self._on_line(line)

    def _read_last_words(self) -> None:
        if self._err_fd < 0:
            return
        poll = select.poll()
        poll.register(self._err_fd, _READABLE)
        poll.register(self._wake_read, _READABLE)
        deadline = self._clock() + _LAST_WORDS_S
        while (left_s := deadline - self._clock()) > 0:
            ready = {fd for fd, _ in poll.poll(left_s * 1000)}
            if self._wake_read in ready or not ready or not self._read_stderr():
                return

    def _read_stderr(self) -> bool:
        chunk = os.read(self._err_fd, _CHUNK_BYTES)
        with self._stderr_lock:
            self._stderr += chunk
            del self._stderr[:-_STDERR_KEPT_BYTES]
        if self._on_stderr is not None and chunk:
            self._on_stderr(chunk)
        return bool(chunk)
