"""Stock pykka: the actors of one process as they come, with pykka's own mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pykka

from bench.messaging.actors import Counting
from bench.messaging.local import measure
from bench.messaging.program import main

if TYPE_CHECKING:
    from bench.messaging.job import Job, Values


class Receiver(Counting, pykka.ThreadingActor):
    """A measured actor of stock pykka."""

    use_daemon_thread = True


class NeverFull(Exception):
    """Stock mailboxes have no bound."""


def run(job: Job, _variant: str) -> Values:
    """Any job within a process."""
    try:
        return measure(job, Receiver.start, NeverFull)
    finally:
        pykka.ActorRegistry.stop_all(block=False)


if __name__ == "__main__":
    main(run)
