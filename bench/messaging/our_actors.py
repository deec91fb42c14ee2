"""Our measured actors: what their processes import, and no more.

Their class's module is imported in every new actor process, so its own imports count in W6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.messaging.actors import Counting
from understudy import Actor, MailboxSpec

if TYPE_CHECKING:
    from bench.messaging.job import Message

_DEEP = 200_000
_DEEP_BYTES = 1 << 30


class Receiver(Counting, Actor):
    """A measured actor of ours."""


class DeepReceiver(Counting, Actor):
    """The same with a mailbox for more than is put into it."""

    mailbox = MailboxSpec(max_messages=_DEEP, max_bytes=_DEEP_BYTES)


class Driver(Actor):
    """The sender as an actor."""

    def on_receive(self, message: Message) -> Any:  # noqa: ANN401 - pykka's signature
        """Do the sender's part of a job with the receivers that came with it."""
        # Here, for the same reason: receivers do not need them.
        from bench.messaging.drive import drive  # noqa: PLC0415
        from bench.messaging.job import Job  # noqa: PLC0415
        from bench.messaging.local import port  # noqa: PLC0415

        return drive(Job.from_json(message["job"]), [port(ref) for ref in message["receivers"]])
