"""UnixSocketChannel: messages between the processes of one machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Self

from .broker import Broker
from .client import Client
from .errors import ChannelClosed, MailboxClosed
from .framing import DEFAULT_MAX_FRAME_BYTES
from .limits import Limits
from .mailbox import Mailbox
from .outgoing import check_message
from .stats import ChannelStats, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .base import PeerEvent
    from .dead_letters import DeadLetters
    from .message import AgentMessage, MessageType


class UnixSocketChannel:
    """One end of the agents' bus: the server that passes messages on, or a client of it.

    A server delivers to itself what is for its own name, for "" or for everybody, and passes the
    rest on to the client of the receiver's name. A client's messages all go by way of the server.
    See `Channel` for what is guaranteed, and docs/protocol.md for what travels.

    Each end has one thread, `understudy-broker-…` or `understudy-client-…`. Use it as a context
    manager, or call `close`.

    Args:
        socket_path: of the server's socket, at most 107 bytes. A server makes its folder (0700)
            when it is missing, replaces what a dead service left, and gives the socket mode 0600.
        is_server: whether this is the server.
        name: this end's name. A server without one is "orchestrator"; a client without one gets
            a unique name from the server.
        incarnation: the number of this client's start. A higher one takes the place of a lower one.
        connect_timeout_s: for connecting and being welcomed.
        max_frame_bytes: the largest frame in both directions.
        max_inbox_messages: what waits to be received at most; the sender of one more gets an ERROR.
        on_peer: a server calls it in its thread when a client comes or goes; it must not block.
        send_timeout_s: how long `send` waits for an end that does not read.
        clock: monotonic seconds.

    Raises:
        ConnectFailed, HelloRefused, UntrustedPeer: a client cannot get in.
        SocketInUse: a server cannot listen, another does.
        SocketPathUnusable: no socket can be at the path.
        SocketPathTooLong: the path does not fit.
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str],
        is_server: bool = False,
        *,
        name: str | None = None,
        incarnation: int = 0,
        connect_timeout_s: float = 5.0,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        max_inbox_messages: int = 10_000,
        on_peer: Callable[[PeerEvent], None] | None = None,
        send_timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.socket_path = os.fspath(socket_path)
        self.is_server = is_server
        limits = Limits(
            connect_timeout_s=connect_timeout_s,
            send_timeout_s=send_timeout_s,
            max_frame_bytes=max_frame_bytes,
            max_inbox_messages=max_inbox_messages,
        )
        self._stats = Recorder(ChannelStats)
        self._inbox: Mailbox[AgentMessage] = Mailbox(
            f"inbox of {name or self.socket_path}",
            max_messages=limits.max_inbox_messages,
            max_bytes=limits.max_inbox_bytes,
        )
        self._end: Broker | Client
        if is_server:
            self._end = Broker(
                self.socket_path,
                limits,
                self._inbox,
                self._stats,
                name=name,
                on_peer=on_peer,
                clock=clock,
            )
        else:
            self._end = Client(
                self.socket_path,
                limits,
                self._inbox,
                self._stats,
                name=name,
                incarnation=incarnation,
                clock=clock,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """This end's name among the agents."""
        return self._end.name

    def claim_name(self, name: str) -> None:
        """Be called that from now on, if this is a client and was given no name so far.

        Raises:
            HelloRefused: the server does not take it under that name; this end is closed then.
            ConnectFailed: the server does not answer in time.
            ChannelClosed, PeerTooSlow: see `send`.
        """
        self._end.claim_name(name)

    @property
    def is_running(self) -> bool:
        """Whether messages can be sent: not closed, and a client's server is there."""
        return self._end.is_running

    @property
    def stats(self) -> ChannelStats:
        """What was sent, received, passed on and dropped so far."""
        return self._stats.snapshot()

    def peers(self) -> dict[str, int]:
        """A server's connected clients: the incarnation by name. A client knows nobody: empty."""
        return self._end.peers()

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages that reached this server and nobody took; a client has none.

        Kept are the last 1,000, up to 64 MiB; more are counted, by reason.
        """
        return self._end.dead_letters

    def subscribe(self, types: Iterable[MessageType] | None) -> None:
        """Say of which types this end wants broadcasts; None, as at the beginning, is all.

        Messages to this end by name come in any case. It holds for the broadcasts that the server
        deals with from then on, and for this connection.

        Raises:
            TypeError: they are no types of messages.
            ChannelClosed, PeerTooSlow: see `send`.
        """
        self._end.subscribe(types)

    def send(self, message: AgentMessage) -> None:
        """Send a message; see `Channel.send` for what it promises and raises.

        It waits at most `send_timeout_s` for an end that does not read, and not at all when called
        from `on_peer`. A broadcast skips peers that do not read.
        """
        check_message(message)
        self._end.send(message)

    def receive(self, timeout: float | None = None) -> AgentMessage | None:
        """Take the next message; see `Channel.receive`.

        Coordination and heartbeats come before all others.
        """
        try:
            return self._inbox.get(timeout)
        except MailboxClosed:
            raise ChannelClosed(self.socket_path, self._end.closed_reason) from None

    def close(self) -> None:
        """Close this end; see `Channel.close`. Takes at most a second when nobody reads."""
        self._end.close()
