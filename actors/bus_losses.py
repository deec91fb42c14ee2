"""What the bus lost on its way to the root, added to what the root tells of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from understudy.transport import Agent2AgentProtocol, UnixSocketChannel


class BusLosses:
    """The counters of the bus's server, and of the protocol by which the root hears it.

    Args:
        channel: the server's end.
        protocol: on it.
    """

    def __init__(self, channel: UnixSocketChannel, protocol: Agent2AgentProtocol) -> None:
        self._channel = channel
        self._protocol = protocol

    def added_to(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """The root's status, with what it never came to see.

        `stale_messages` are all that were dropped because their sender's incarnation had ended, on
        the bus, by the protocol and by the root; `dead_letters` the bus's, by reason (see
        `DeadLetter`).
        """
        unseen = self._channel.stats.dropped_stale + self._protocol.stats.stale
        return {
            **status,
            "stale_messages": status["stale_messages"] + unseen,
            "dead_letters": self._channel.dead_letters.counts(),
        }
