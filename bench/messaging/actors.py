"""What the measured actors do, whoever's actors they are: mixed into pykka's and into ours."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.messaging.job import Counter, Job, Message, clock, pool, reply_to

if TYPE_CHECKING:
    import pykka

STAT = "bench.stat"
HOLD = "bench.hold"
FULL = "full"
"""A file beside the gate: the actor has told itself what it was to, and waits."""
COUNTS, REPLIES = "counts", "replies"

_LOOK_S = 0.001


def stat_message() -> Message:
    """Asks a `Counting`: handled, time of the last, process, seconds since it was let go."""
    return {"type": STAT}


def hold_message(gate: Path, fill: int = 0) -> Message:
    """Keeps a `Counting` busy until that file exists, or its folder does not.

    Args:
        gate: the file.
        fill: how many messages it tells itself before. A sender in another process would be held
            back long before a mailbox is deep.
    """
    return {"type": HOLD, "gate": str(gate), "fill": fill}


class Counting:
    """Counts what it is told and answers what it is asked.

    Args:
        want: the message at which the time is noted; -1 for none.
        manner: `COUNTS`, or `REPLIES` too.
        work_s: how long each message takes besides.
    """

    def __init__(self, want: int, manner: str, work_s: float = 0.0) -> None:
        super().__init__()
        self._counter = Counter(want)
        self._replies = manner == REPLIES
        self._work_s = work_s
        self._released = 0.0

    def on_receive(self, message: Message) -> Any:  # noqa: ANN401 - pykka's signature
        """Count, answer; or what the two messages above ask."""
        if message["type"] == STAT:
            since = clock() - self._released
            return [self._counter.n, self._counter.t, os.getpid(), since]
        if message["type"] == HOLD:
            return self._hold(Path(message["gate"]), message["fill"])
        self._counter(message)
        if self._work_s:
            time.sleep(self._work_s)
        return reply_to(message) if self._replies else None

    def _hold(self, gate: Path, fill: int) -> None:
        messages = pool(Job("tell", fill))
        tell = cast("pykka.ThreadingActor", self).actor_ref.tell
        for number in range(fill):
            tell(messages[number % len(messages)])
        gate.with_name(FULL).touch()
        while not gate.exists() and gate.parent.exists():
            time.sleep(_LOOK_S)
        self._released = clock()
