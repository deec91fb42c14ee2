"""What arrives at an end: records become messages, messages go into the inbox."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .errors import MailboxClosed, MailboxFull, MalformedMessage, UnknownMessageType
from .message import AgentMessage, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .mailbox import Mailbox
    from .stats import ChannelStats, Recorder

_log = logging.getLogger(__name__)


class Intake:
    """The way into one end's inbox. All methods may be called from any thread.

    Args:
        name: of the end, which signs what is sent back.
        inbox: where messages go.
        stats: where drops are counted.
    """

    def __init__(
        self, name: str, inbox: Mailbox[AgentMessage], stats: Recorder[ChannelStats]
    ) -> None:
        self.name = name
        self._inbox = inbox
        self._stats = stats

    def parse(self, record: Mapping[str, Any]) -> AgentMessage | None:
        """The message of a record; None, counted, for one that cannot be understood."""
        try:
            return AgentMessage.from_wire(record)
        except UnknownMessageType as error:
            self._stats.add("dropped_unknown_type")
            _log.debug("%s drops a message: %s", self.name, error)
        except MalformedMessage as error:
            self._stats.add("dropped_malformed")
            _log.warning("%s drops a message: %s", self.name, error)
        return None

    def deliver(self, message: AgentMessage, size_bytes: int) -> AgentMessage | None:
        """Put a message into the inbox; the ERROR to send back when there is no room, else None."""
        try:
            self.put(message, size_bytes)
        except MailboxFull as error:
            self._stats.add("dropped_inbox_full")
            return message.error_reply(self.name, ErrorKind.OVERLOADED, str(error))
        except MailboxClosed:
            # The channel is closing: the sender sees the end of the connection.
            return None
        return None

    def put(self, message: AgentMessage, size_bytes: int) -> None:
        """Put a message into the inbox.

        Raises:
            MailboxFull: there is no room.
            MailboxClosed: the channel is closed.
        """
        self._inbox.put(message, size_bytes=size_bytes, control=message.is_control)
        self._stats.add("received")
