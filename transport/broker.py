"""The server's end: takes clients in, and passes messages between them."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any, Literal

from .base import DEFAULT_SERVER_NAME, PeerEvent
from .codec import decode, encode
from .errors import (
    ChannelClosed,
    DecodeError,
    FrameTooLarge,
    HelloRefused,
    MailboxClosed,
    PeerTooSlow,
    PeerUnknown,
    UntrustedPeer,
)
from .hello import Farewell, Hello, Welcome
from .intake import Intake
from .link import Link
from .listener import Listener, PeerCredentials
from .loop import READ, WRITE, IoLoop
from .message import AgentMessage, ErrorKind, MessageType
from .subscriptions import from_record, to_words
from .switch import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .dead_letters import DeadLetters
    from .limits import Limits
    from .mailbox import Mailbox
    from .registry import Peer
    from .stats import ChannelStats, Recorder

_log = logging.getLogger(__name__)

_ACCEPT_PAUSE_S = 0.1
# A socket's buffer (wmem_default, 208 KiB) is less than that; its owner may still be writing.
_LAST_READS = 16


class Broker:
    """A listening socket, its clients, and one thread that serves them all.

    Args:
        path: of the socket.
        limits: sizes and times.
        inbox: for the messages to the server itself.
        stats: where everything is counted.
        name: the server's name among the agents.
        on_peer: told in the broker's thread when a peer comes or goes; must not block.
        clock: monotonic seconds.

    Raises:
        SocketPathTooLong, SocketInUse, SocketPathUnusable: see `Listener`.
    """

    def __init__(
        self,
        path: str,
        limits: Limits,
        inbox: Mailbox[AgentMessage],
        stats: Recorder[ChannelStats],
        *,
        name: str | None = None,
        on_peer: Callable[[PeerEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name or DEFAULT_SERVER_NAME
        self._path = path
        self._limits = limits
        self._inbox = inbox
        self._stats = stats
        self._on_peer = on_peer
        self._clock = clock
        self._switch: Switch[Link] = Switch(Intake(self.name, inbox, stats), stats)
        # Of the loop's thread only: every open connection; its peer once it said hello.
        self._links: dict[Link, Peer[Link] | None] = {}
        self._is_closed = False
        self._is_noticing = False
        self._listener = Listener(path)
        with contextlib.ExitStack() as undo:
            undo.callback(self._listener.close)
            self._loop = IoLoop(
                f"understudy-broker-{self.name}", on_exit=self._release, clock=clock
            )
            self._loop.watch(self._listener.fileno(), READ, self._on_connection)
            self._loop.start()
            undo.pop_all()

    @property
    def is_running(self) -> bool:
        """Whether it was not closed."""
        return not self._is_closed

    @property
    def closed_reason(self) -> str:
        """Why it is closed, in words."""
        return "it was closed by this process"

    def peers(self) -> dict[str, int]:
        """The incarnation of each connected peer, by name. Any thread."""
        return {} if self._is_closed else self._switch.registry.incarnations()

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages that reached this server and nobody took."""
        return self._switch.dead_letters

    def claim_name(self, name: str) -> None:
        """Nothing: a server's name is that of its making."""

    def subscribe(self, types: Iterable[MessageType] | None) -> None:
        """Say which broadcasts the server itself wants. Any thread."""
        self._switch.subscriptions.set(None, to_words(types))

    def send(self, message: AgentMessage) -> None:
        """Send a message of the server's own. Any thread; see `Channel.send`."""
        if self._is_closed:
            raise ChannelClosed(self._path, self.closed_reason)
        timeout_s = 0.0 if self._loop.is_current() else self._limits.send_timeout_s
        try:
            self._switch.send(message, encode([message.to_wire()]), timeout_s)
        except (MailboxClosed, PeerUnknown) as error:
            if self._is_closed:
                raise ChannelClosed(self._path, self.closed_reason) from error
            raise
        self._stats.add("sent")

    def close(self) -> None:
        """End the thread, the connections and the listening socket. Any thread; safe to call again.

        What is still to be written is given `Limits.flush_s` altogether.
        """
        self._is_closed = True
        self._loop.stop()

    # Everything below runs in the loop's thread, except _on_full_socket.

    def _on_full_socket(self, link: Link) -> None:
        self._loop.call_soon(lambda: self._watch(link))

    def _watch(self, link: Link) -> None:
        if not link.is_closed:
            events = READ | WRITE if link.has_output else READ
            self._loop.watch(link.fileno(), events, lambda ready: self._on_ready(link, ready))

    def _on_connection(self, _events: int) -> None:
        try:
            sock = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # Out of descriptors: the connection stays in the queue, ready, and the loop would spin.
            _log.warning("%s cannot take a connection: %s", self._path, error)
            self._pause_accepting()
            return
        link = Link(sock, self._limits, want_write=self._on_full_socket, clock=self._clock)
        self._links[link] = None
        self._watch(link)
        try:
            PeerCredentials.of(sock).check(os.geteuid())
        except UntrustedPeer as error:
            self._refuse(link, HelloRefused("", 0, "untrusted", str(error)))
            return
        until_s = self._clock() + self._limits.connect_timeout_s
        self._loop.call_at(until_s, lambda: self._expect_hello(link))

    def _pause_accepting(self) -> None:
        fd = self._listener.fileno()
        self._loop.unwatch(fd)
        resume_s = self._clock() + _ACCEPT_PAUSE_S
        self._loop.call_at(resume_s, lambda: self._loop.watch(fd, READ, self._on_connection))

    def _expect_hello(self, link: Link) -> None:
        if link in self._links and self._links[link] is None:
            self._refuse(link, HelloRefused("", 0, "bad_hello", "no hello came in time"))

    def _on_ready(self, link: Link, events: int) -> None:
        if events & WRITE and link.flush():
            self._watch(link)
        if events & READ:
            self._read(link)

    def _read(self, link: Link) -> None:
        """Take one chunk from a connection, so that a busy peer leaves the others their turn."""
        try:
            is_open = link.read()
        except BlockingIOError:
            return
        try:
            while link in self._links and (body := link.reader.next_frame()) is not None:
                self._on_frame(link, body)
        except FrameTooLarge as error:
            self._stats.add("oversize_frames")
            self._say_error(link, ErrorKind.FRAME_TOO_LARGE, str(error))
            self._drop(link)
        if not is_open and link in self._links:
            if link.reader.pending_bytes:
                self._stats.add("half_frames")
            self._drop(link)

    def _on_frame(self, link: Link, body: bytes) -> None:
        try:
            records = decode(body)
        except DecodeError as error:
            self._on_bad_frame(link, error)
            return
        share_bytes = len(body) // max(1, len(records))
        for record in records:
            peer = self._links.get(link)
            if link.is_closed:
                return
            if peer is None:
                self._on_hello(link, record)
            elif "link" not in record:
                self._switch.take(peer, record, share_bytes)
            else:
                self._on_link_record(link, peer, record)

    def _on_link_record(self, link: Link, peer: Peer[Link], record: dict[str, Any]) -> None:
        if peer.is_given and record.get("link") == "hello":
            self._on_hello(link, record)
            return
        is_subscription, types = from_record(record)
        if is_subscription:
            self._switch.subscriptions.set(peer, types)

    def _on_bad_frame(self, link: Link, error: DecodeError) -> None:
        if self._links[link] is None:
            self._refuse(link, HelloRefused("", 0, "bad_hello", str(error)))
            return
        self._stats.add("dropped_malformed")
        self._say_error(link, ErrorKind.MALFORMED, str(error))

    def _on_hello(self, link: Link, record: dict[str, Any]) -> None:
        try:
            hello = Hello.from_record(record)
            self._notice_death(hello)
            peer, replaced = self._switch.registry.admit(
                hello.name, hello.incarnation, link, lambda name: self._welcome(link, name)
            )
        except HelloRefused as error:
            self._refuse(link, error)
            return
        except (ChannelClosed, PeerTooSlow):
            self._drop(link)
            return
        link.name = peer.name
        before, self._links[link] = self._links[link], peer
        if replaced is not None:
            self._replace(replaced, peer)
        if before is not None:
            self._rename(before, peer)
        self._tell("connected", peer)

    def _rename(self, old: Peer[Link], new: Peer[Link]) -> None:
        """A client that was given a name has said what it is called."""
        self._switch.registry.remove(old)
        self._switch.subscriptions.hand_over(old, new)
        self._tell("disconnected", old)

    def _notice_death(self, hello: Hello) -> None:
        """Read a connection to its end before its name counts as taken.

        A client that closed and came back at once must not be refused for the old connection, whose
        end may lie unread.
        """
        living = None if hello.name is None else self._switch.registry.get(hello.name)
        if living is None or hello.incarnation != living.incarnation or self._is_noticing:
            return
        # What is read there may be a hello, too: one is enough.
        self._is_noticing = True
        try:
            for _ in range(_LAST_READS):
                if living.port in self._links:
                    self._read(living.port)
        finally:
            self._is_noticing = False

    def _welcome(self, link: Link, name: str) -> None:
        link.send(encode([Welcome(name, self.name).to_record()]), 0.0)

    def _replace(self, old: Peer[Link], new: Peer[Link]) -> None:
        """Close the connection of an incarnation that is over; what it still said is dropped."""
        link = old.port
        self._stats.add("dropped_stale", _count_messages_left(link))
        self._say_farewell(link, "replaced", f"incarnation {new.incarnation} took over")
        self._close_link(link)
        self._tell("disconnected", old)

    def _refuse(self, link: Link, error: HelloRefused) -> None:
        self._stats.add("refused_hellos")
        _log.warning("%s: %s", self._path, error)
        self._say_farewell(link, error.kind, error.reason)
        self._close_link(link)

    def _drop(self, link: Link) -> None:
        """The connection is over: forget it, once."""
        if link not in self._links:
            return
        peer = self._links[link]
        self._close_link(link)
        if peer is not None and self._switch.registry.remove(peer):
            self._tell("disconnected", peer)

    def _close_link(self, link: Link) -> None:
        self._loop.unwatch(link.fileno())
        self._links.pop(link, None)
        link.close()

    def _say_error(self, link: Link, kind: ErrorKind, text: str) -> None:
        payload = {"kind": kind.value, "message": text}
        error = AgentMessage.create(self.name, link.name, MessageType.ERROR, payload)
        self._switch.say(link, encode([error.to_wire()]))

    def _say_farewell(self, link: Link, kind: str, reason: str) -> None:
        self._switch.say(link, encode([Farewell(kind, reason).to_record()]))

    def _tell(self, kind: Literal["connected", "disconnected"], peer: Peer[Link]) -> None:
        if self._on_peer is None:
            return
        event = PeerEvent(kind, peer.name, peer.incarnation)
        try:
            self._on_peer(event)
        except Exception:  # noqa: BLE001 - the caller's code; it must not end the bus
            _log.exception("on_peer failed for %s", event)

    def _release(self) -> None:
        self._is_closed = True
        self._listener.close()
        until_s = self._clock() + self._limits.flush_s
        for link in list(self._links):
            link.linger(until_s)
            link.close()
        self._links.clear()
        self._inbox.close(discard=True)


def _count_messages_left(link: Link) -> int:
    """How many messages of a connection were not taken yet."""
    count = 0
    with contextlib.suppress(BlockingIOError, FrameTooLarge, DecodeError):
        for _ in range(_LAST_READS):
            is_open = link.read()
            while (body := link.reader.next_frame()) is not None:
                count += len(decode(body))
            if not is_open:
                break
    return count
