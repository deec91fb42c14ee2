"""What a node counts."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass
class Traffic:
    """Counters of one node since it was made. A count may lack what happens at the moment.

    Attributes:
        sent: records put on a link.
        received: records that came.
        late: answers whose asker waits no more.
        stale: links and records of an older incarnation that were dropped.
        refused: connections that were not taken.
        malformed: records and frames that could not be understood; a frame ends its link.
        half_frames: links that ended in the middle of a frame.
        oversize_frames: frames over the limit; each ended its link.
        unknown: records of a kind this version does not know.
        undeliverable: messages for an actor that is not here.
        answers_dropped: answers whose asker is gone or does not read.
        expired: requests whose asker gave up waiting.
        handler_failed: control handlers that raised.
    """

    sent: int = 0
    received: int = 0
    late: int = 0
    stale: int = 0
    refused: int = 0
    malformed: int = 0
    half_frames: int = 0
    oversize_frames: int = 0
    unknown: int = 0
    undeliverable: int = 0
    answers_dropped: int = 0
    expired: int = 0
    handler_failed: int = 0

    def snapshot(self) -> Traffic:
        """A copy."""
        return replace(self)
