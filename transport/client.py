"""The client's end: one connection to a server, and the thread that reads it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING

from .codec import decode, encode
from .dead_letters import DeadLetters
from .errors import (
    ChannelClosed,
    ConnectFailed,
    DecodeError,
    FrameTooLarge,
    PeerTooSlow,
    UntrustedPeer,
)
from .framing import FrameReader, frame_header
from .hello import Farewell, Hello, Welcome
from .intake import Intake
from .link import Link
from .listener import PeerCredentials, check_path_length
from .loop import READ, WRITE, IoLoop
from .message import AgentMessage, ErrorKind, MessageType
from .name_claim import NameClaim
from .subscriptions import to_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .limits import Limits
    from .mailbox import Mailbox
    from .stats import ChannelStats, Recorder

_CHUNK_BYTES = 64 << 10


class Client:
    """A connection to the server at a path.

    The constructor returns when the server has taken it in: from then on others can reach it.

    Args:
        path: of the server's socket.
        limits: sizes and times.
        inbox: for what arrives.
        stats: where everything is counted.
        name: its name among the agents; None lets the server give it one.
        incarnation: the number of its start.
        clock: monotonic seconds.

    Raises:
        ConnectFailed: nobody listens there, or nobody answers in time.
        HelloRefused: the server does not take it.
        SocketPathTooLong: the path is over 107 bytes.
        UntrustedPeer: the server belongs to another user.
    """

    def __init__(
        self,
        path: str,
        limits: Limits,
        inbox: Mailbox[AgentMessage],
        stats: Recorder[ChannelStats],
        *,
        name: str | None = None,
        incarnation: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._limits = limits
        self._inbox = inbox
        self._stats = stats
        self._clock = clock
        self._closed_reason = ""
        self._dead_letters = DeadLetters()
        reader = FrameReader(limits.max_frame_bytes)
        with contextlib.ExitStack() as undo:
            sock = _connect(path, limits.connect_timeout_s)
            undo.callback(sock.close)
            until_s = clock() + limits.connect_timeout_s
            welcome = _shake_hands(path, sock, reader, Hello(name, incarnation), until_s, clock)
            self.name = welcome.name
            self._names = NameClaim(name, incarnation)
            self._intake = Intake(self.name, inbox, stats)
            self._link = Link(
                sock, limits, want_write=self._on_full_socket, reader=reader, clock=clock
            )
            self._link.name = welcome.server
            self._loop = IoLoop(
                f"understudy-client-{self.name}", on_exit=self._release, clock=clock
            )
            self._loop.watch(self._link.fileno(), READ, self._on_ready)
            # The server's first messages may have come together with its welcome.
            self._loop.call_soon(self._take_frames)
            self._loop.start()
            undo.pop_all()

    @property
    def is_running(self) -> bool:
        """Whether neither end has closed the connection."""
        return not self._closed_reason

    @property
    def closed_reason(self) -> str:
        """Why it is closed, in words; empty while it is open."""
        return self._closed_reason

    def peers(self) -> dict[str, int]:
        """Nobody: only a server knows who is connected."""
        return {}

    def send(self, message: AgentMessage) -> None:
        """Send a message by way of the server. Any thread; see `Channel.send`."""
        if self._closed_reason:
            raise ChannelClosed(self._path, self._closed_reason)
        timeout_s = 0.0 if self._loop.is_current() else self._limits.send_timeout_s
        self._link.send(encode([message.to_wire()]), timeout_s)
        self._stats.add("sent")

    def claim_name(self, name: str) -> None:
        """Be called that from now on, when the server made up the name so far. Not from the loop.

        Raises:
            HelloRefused: the server does not take it under that name; the connection is over.
            ConnectFailed: it does not answer in time.
            ChannelClosed, PeerTooSlow: see `send`.
        """
        if self._names.is_chosen or name == self.name:
            return
        if self._closed_reason:
            raise ChannelClosed(self._path, self._closed_reason)
        self._link.send(encode([self._names.ask(name)]), self._limits.send_timeout_s)
        if not self._names.wait(self._limits.connect_timeout_s):
            raise ConnectFailed(self._path, "the server does not answer to a name")
        if self.name != name:
            raise ChannelClosed(self._path, self._closed_reason)

    @property
    def dead_letters(self) -> DeadLetters:
        """None: what cannot be delivered is the server's to know."""
        return self._dead_letters

    def subscribe(self, types: Iterable[MessageType] | None) -> None:
        """Say which broadcasts are wanted. Any thread; raises as `send`."""
        if self._closed_reason:
            raise ChannelClosed(self._path, self._closed_reason)
        timeout_s = 0.0 if self._loop.is_current() else self._limits.send_timeout_s
        self._link.send(encode([to_record(types)]), timeout_s)

    def close(self) -> None:
        """End the connection and the thread. Any thread; safe to call again.

        What is still to be written is given `Limits.flush_s`; what was not received is forgotten.
        """
        self._closed_reason = self._closed_reason or "it was closed by this process"
        self._loop.stop()
        self._inbox.close(discard=True)

    # Everything below runs in the loop's thread, except _on_full_socket.

    def _on_full_socket(self, _link: Link) -> None:
        self._loop.call_soon(self._watch)

    def _watch(self) -> None:
        if not self._link.is_closed:
            events = READ | WRITE if self._link.has_output else READ
            self._loop.watch(self._link.fileno(), events, self._on_ready)

    def _on_ready(self, events: int) -> None:
        if events & WRITE and self._link.flush():
            self._watch()
        if events & READ:
            self._read()

    def _read(self) -> None:
        try:
            is_open = self._link.read()
        except BlockingIOError:
            return
        self._take_frames()
        if not is_open:
            if self._link.reader.pending_bytes:
                self._stats.add("half_frames")
            self._end("the server is gone")

    def _take_frames(self) -> None:
        try:
            while (body := self._link.reader.next_frame()) is not None:
                self._on_frame(body)
        except FrameTooLarge as error:
            self._stats.add("oversize_frames")
            payload = {"kind": ErrorKind.FRAME_TOO_LARGE.value, "message": str(error)}
            self._answer(
                AgentMessage.create(self.name, self._link.name, MessageType.ERROR, payload)
            )
            self._end(str(error))

    def _on_frame(self, body: bytes) -> None:
        try:
            records = decode(body)
        except DecodeError:
            self._stats.add("dropped_malformed")
            return
        share_bytes = len(body) // max(1, len(records))
        for record in records:
            if farewell := Farewell.from_record(record):
                self._names.answer(record)
                self._end(f"{farewell.kind}: {farewell.reason}")
            elif welcome := self._names.answer(record):
                self.name = self._intake.name = welcome.name
                self._names.settle()
            elif "link" not in record and (message := self._intake.parse(record)):
                self._answer(self._intake.deliver(message, share_bytes))

    def _answer(self, reply: AgentMessage | None) -> None:
        if reply is None:
            return
        try:
            self._link.send(encode([reply.to_wire()]), 0.0)
        except (ChannelClosed, PeerTooSlow):
            self._stats.add("dropped_slow_peer")

    def _end(self, reason: str) -> None:
        self._closed_reason = self._closed_reason or reason
        self._loop.stop()

    def _release(self) -> None:
        self._closed_reason = self._closed_reason or "its thread ended"
        self._link.linger(self._clock() + self._limits.flush_s)
        self._link.close()
        self._inbox.close()
        self._names.settle()


def _connect(path: str, timeout_s: float) -> socket.socket:
    check_path_length(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # With a time limit of Python's, connect(2) does not wait for room in a full backlog: it
        # says EAGAIN at once. With the kernel's own limit it does.
        limit = struct.pack("@ll", *divmod(max(1, int(timeout_s * 1e6)), 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.connect(path)
        PeerCredentials.of(sock).check(os.geteuid())
    except OSError as error:
        sock.close()
        raise ConnectFailed(path, _explain(error, timeout_s)) from error
    except UntrustedPeer:
        sock.close()
        raise
    return sock


def _explain(error: OSError, timeout_s: float) -> str:
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return "no service listens there; start it first"
    if error.errno == errno.EAGAIN:
        return f"the service takes no connection within {timeout_s:g} s"
    return error.strerror or str(error)


def _shake_hands(
    path: str,
    sock: socket.socket,
    reader: FrameReader,
    hello: Hello,
    until_s: float,
    clock: Callable[[], float],
) -> Welcome:
    """Say hello and wait for the welcome, what follows it stays in the reader."""
    body = encode([hello.to_record()])
    try:
        sock.sendall(frame_header(body) + body)
        while (answer := reader.next_frame()) is None:
            sock.settimeout(max(0.001, until_s - clock()))
            data = sock.recv(_CHUNK_BYTES)
            if not data:
                raise ConnectFailed(path, "the server closed the connection without an answer")
            reader.feed(data)
        records = decode(answer)
    except TimeoutError:
        raise ConnectFailed(path, "the service took the connection but does not answer") from None
    except OSError as error:
        raise ConnectFailed(path, error.strerror or str(error)) from error
    except (DecodeError, FrameTooLarge) as error:
        raise ConnectFailed(
            path, f"what answers there is no understudy service: {error}"
        ) from error
    return Welcome.from_record(records[0] if records else {}, hello)
