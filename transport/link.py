"""One connected socket: whole frames in, whole frames out, whatever the other end does."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from .errors import ChannelClosed, PeerTooSlow
from .framing import FrameReader, frame_header

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .limits import Limits

_CHUNK_BYTES = 256 << 10
# One call takes up to 1024 vectors (UIO_MAXIOV); more than a few dozen no longer pays.
_VECTORS = 64


class Link:
    """A connection, its half-read frame and its outbox.

    `send` may be called from any thread; all others belong to the loop that owns the link.

    A frame is written at once, in the sender's thread, when the socket takes it: the common case
    costs no thread switch. The rest waits in the outbox, which is bounded, for the loop to write.

    Args:
        sock: connected; belongs to the link from now on.
        limits: sizes and times.
        want_write: called (in any thread, must not block) when the outbox needs the loop.
        reader: with what was read during the handshake.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        sock: socket.socket,
        limits: Limits,
        *,
        want_write: Callable[[Link], None],
        reader: FrameReader | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._limits = limits
        self._want_write = want_write
        self._clock = clock
        self.reader = reader or FrameReader(limits.max_frame_bytes)
        self.name = "?"
        self._room = threading.Condition()
        self._outbox: deque[memoryview] = deque()
        self._pending_bytes = 0
        self._is_broken = False
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    @property
    def has_output(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._outbox)

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._sock.fileno()

    def send(self, body: bytes, timeout_s: float) -> None:
        """Write a frame, or put it in the outbox.

        Args:
            body: the frame's body.
            timeout_s: how long to wait for room in the outbox; 0 never waits.

        Raises:
            FrameTooLarge: the body is over the limit.
            PeerTooSlow: there was no room in time; nothing of the frame was sent.
            ChannelClosed: the connection is gone.
        """
        header = frame_header(body, self._limits.max_frame_bytes)
        size = len(header) + len(body)
        with self._room:
            if not self._room.wait_for(lambda: self._is_over or self._fits(size), timeout_s):
                raise PeerTooSlow(self.name, self._pending_bytes, timeout_s)
            if self._is_over:
                raise ChannelClosed(self.name, "the other end is gone")
            was_idle = not self._outbox
            self._outbox.append(memoryview(header))
            self._outbox.append(memoryview(body))
            self._pending_bytes += size
            if was_idle:
                self._write()
                if self._outbox:
                    self._want_write(self)

    def flush(self) -> bool:
        """Write what the socket takes; whether all is written."""
        with self._room:
            if not self._is_over:
                self._write()
            return not self._outbox

    def read(self) -> bool:
        """Feed what the socket has, at most one chunk, to `reader`; False at the end of the stream.

        Raises:
            BlockingIOError: there is nothing to read now.
        """
        try:
            data = self._sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            raise
        except OSError:
            # A reset: the other end died, or closed with our bytes unread. What came before it
            # was read first (unix_stream_read_generic takes the queue before the error).
            return False
        self.reader.feed(data)
        return bool(data)

    def linger(self, until_s: float) -> None:
        """Go on writing the outbox until it is empty or the clock says `until_s`."""
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        while not self.flush() and not self._is_over:
            left_s = until_s - self._clock()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                return

    def close(self) -> None:
        """Close the socket and wake every sender that waits. Safe to call again."""
        with self._room:
            self._is_closed = True
            self._forget()
            self._sock.close()

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._is_broken

    def _fits(self, size: int) -> bool:
        return not self._outbox or self._pending_bytes + size <= self._limits.max_outbox_bytes

    def _write(self) -> None:
        """Write until the socket takes no more. The lock is held."""
        with contextlib.suppress(BlockingIOError):
            while self._outbox:
                try:
                    written = self._sock.sendmsg(list(islice(self._outbox, _VECTORS)))
                except BlockingIOError:
                    raise
                except OSError:
                    # The other end is gone. The loop learns it from the end of the stream, after
                    # reading what is still there.
                    self._is_broken = True
                    self._forget()
                    return
                self._drop_written(written)

    def _drop_written(self, written: int) -> None:
        self._pending_bytes -= written
        while written:
            head = self._outbox[0]
            if written < len(head):
                self._outbox[0] = head[written:]
                break
            written -= len(head)
            self._outbox.popleft()
        self._room.notify_all()

    def _forget(self) -> None:
        self._outbox.clear()
        self._pending_bytes = 0
        self._room.notify_all()
