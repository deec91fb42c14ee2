"""What the measured actors do, whoever's actors they are: mixed into pykka's and into ours."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from bench.messaging.job import Counter, Message, clock, reply_to

STAT = "bench.stat"
HOLD = "bench.hold"
COUNTS, REPLIES = "counts", "replies"

_LOOK_S = 0.001


def stat_message() -> Message:
    """Asks a `Counting`: handled, time of the last, process, seconds since it was let go."""
    return {"type": STAT}


def hold_message(gate: Path) -> Message:
    """Keeps a `Counting` busy until that file exists."""
    return {"type": HOLD, "gate": str(gate)}


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
            return self._hold(Path(message["gate"]))
        self._counter(message)
        if self._work_s:
            time.sleep(self._work_s)
        return reply_to(message) if self._replies else None

    def _hold(self, gate: Path) -> None:
        while not gate.exists():
            time.sleep(_LOOK_S)
        self._released = clock()
