"""A link's end on a Unix socket."""

from __future__ import annotations

import logging
import socket
from collections import deque
from typing import TYPE_CHECKING

from .errors import DecodeError, FrameTooLarge
from .poller import READ, WRITE
from .session import Session
from .wire import LENGTH, FrameBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .outlet import SessionOwner
    from .poller import Poller

_log = logging.getLogger(__name__)

_JOIN_BYTES = 64 << 10
"""From here on parts are sent as they are; below, one copy into one buffer is quicker."""
_MAX_PARTS = 1_000
"""sendmsg(2) takes IOV_MAX, 1,024."""
_SEND_BUFFER_BYTES = 1 << 20
"""Wanted of the kernel, which gives twice net.core.wmem_max at most: 416 KiB as a rule, and the 208
of a socket that nobody asks for. A message of 1 MiB then goes in fewer parts, for each of which the
other end is waited for: 5.4 instead of 2.0 GB/s (bench/README.md, W2b)."""
_LENGTH_BYTES = LENGTH.size
_length_of = LENGTH.unpack_from
_LAST_READS = 16
"""A socket's buffer is less; its owner may still be writing."""


class SocketSession(Session):
    """One end of a connection. See `Session`; the socket never blocks.

    Args:
        owner: its node.
        sock: connected.
        poller: that watches it.
        on_end: told in the reading thread, with the reason, when the connection is over.
        peer: the node that was dialled; "" for a connection that came.
    """

    def __init__(
        self,
        owner: SessionOwner,
        sock: socket.socket,
        poller: Poller,
        on_end: Callable[[SocketSession, str], None],
        peer: str = "",
    ) -> None:
        super().__init__(owner, peer)
        sock.setblocking(False)  # noqa: FBT003 - the name of the method says it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._sock = sock
        self._send = sock.send
        self._recv_into = sock.recv_into
        self._fd = sock.fileno()
        self._poller = poller
        self._on_end = on_end
        self._buffer = FrameBuffer(owner.limits.max_frame_bytes)
        self._most_bytes = owner.limits.max_frame_bytes + _LENGTH_BYTES
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._high_bytes = owner.limits.high_water_bytes

    def start(self) -> None:
        """Have it watched."""
        self._poller.watch(self._fd, self.on_ready)

    @property
    def backlog_bytes(self) -> int:
        """What is still to be sent."""
        return self._unsent_bytes + self._out_bytes

    def on_ready(self, events: int) -> None:
        """Read and write what can be, once round, so that a busy peer leaves the others their turn.

        In the thread with the role.
        """
        if events & WRITE:
            self._write_on()
            if events == WRITE:
                return
        room = self._buffer.room
        try:
            count = self._recv_into(room or self._buffer.space())
            if room is not None and _LENGTH_BYTES < count <= self._most_bytes:
                (size_bytes,) = _length_of(room)
                if size_bytes + _LENGTH_BYTES == count:
                    # One whole frame and no more: the rule where somebody waits for an answer.
                    self.take(room[_LENGTH_BYTES:count])
                    return
            self._take_part(count)
        except (OSError, FrameTooLarge, DecodeError) as error:
            self._hindered(error)

    def _take_part(self, count: int) -> None:
        """Take whatever so many bytes of the stream end, and the rest of a large frame at once."""
        buffer = self._buffer
        while count:
            for body in buffer.advance(count):
                self.take(body)
            if buffer.oversize_bytes:
                raise FrameTooLarge(buffer.oversize_bytes, self.owner.limits.max_frame_bytes)
            if not buffer.large:
                return
            count = self._recv_into(buffer.space())
        self._ended("the other end closed the connection")

    def close_socket(self) -> None:
        """Give the descriptor back."""
        self._poller.unwatch(self._fd)
        with self.lock:
            self._unsent.clear()
            self._unsent_bytes = 0
            self._sock.close()

    def read_rest(self) -> None:
        """See `Session`."""
        for _ in range(_LAST_READS):
            if not self.closed:
                self.on_ready(READ)

    def _backlog_bytes(self) -> int:
        return self.backlog_bytes

    def _transmit_one(self, frame: bytes) -> None:
        if self._unsent:
            self._keep([frame], len(frame))
            return
        try:
            sent = self._send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the reading side sees the end, with all that came before it
        if sent < len(frame):
            self._keep([frame], len(frame), sent)
            self._poller.want_write(self._fd, wanted=True)

    def _transmit(self, parts: list[bytes], total: int) -> None:
        if total < _JOIN_BYTES or len(parts) > _MAX_PARTS:
            self._transmit_one(b"".join(parts))
            return
        if self._unsent:
            self._keep(parts, total)
            return
        try:
            sent = self._sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the reading side sees the end, with all that came before it
        if sent < total:
            self._keep(parts, total, sent)
            self._poller.want_write(self._fd, wanted=True)

    def _keep(self, parts: list[bytes], total: int, sent: int = 0) -> None:
        self._unsent_bytes += total - sent
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
            else:
                self._unsent.append(memoryview(part)[sent:])
                sent = 0
        self.clogged = self._unsent_bytes >= self._high_bytes

    def _write_on(self) -> None:
        with self.lock:
            if self.closed:
                return
            try:
                self._write_unsent()
            except BlockingIOError:
                pass
            except OSError:
                return
            if not self._unsent:
                self._poller.want_write(self._fd, wanted=False)
            was_clogged = self.clogged
            self.clogged = self._unsent_bytes >= self._high_bytes // 2 and was_clogged
            is_freed = was_clogged and not self.clogged
        if is_freed:
            self.made_room()

    def _write_unsent(self) -> None:
        while self._unsent:
            parts = [self._unsent[i] for i in range(min(len(self._unsent), 64))]
            sent = self._sock.sendmsg(parts)
            self._unsent_bytes -= sent
            for part in parts:
                if sent < len(part):
                    self._unsent[0] = part[sent:]
                    return
                sent -= len(part)
                self._unsent.popleft()

    def _hindered(self, error: OSError | FrameTooLarge | DecodeError) -> None:
        if isinstance(error, BlockingIOError):
            return  # there is no more to read now
        if isinstance(error, OSError):
            self._ended(error.strerror or str(error))
            return
        if isinstance(error, FrameTooLarge):
            self.owner.traffic.oversize_frames += 1
        else:
            self.owner.traffic.malformed += 1
        self._ended(str(error))

    def _ended(self, reason: str) -> None:
        if self._buffer.pending_bytes:
            self.owner.traffic.half_frames += 1
        self._on_end(self, reason)
