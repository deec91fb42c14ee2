"""Messages that nobody took: counted, kept for a while, told in the log, and sent again on request.

An actor system loses messages to the dead by design; what it must not do is lose them unseen.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

KEPT = 1_000
"""How many a process keeps; older ones stay counted."""
KEPT_BYTES = 64 << 20
"""Their size together, as far as it is known."""
LOG_BURST = 10
LOG_PAUSE_S = 60.0
"""After ten lines within a minute the log is silent until the minute is over."""


@dataclass(frozen=True, eq=False)
class DeadLetter:
    """A message that was not taken.

    Attributes:
        number: a serial within its process.
        target: whom it was for, in words.
        message: what it said.
        reason: why it was not taken: `stopped`, `unknown`, `expired`, `dropped`; on the bus also
            `slow` (the receiver does not read) and `full` (the server's inbox).
        size_bytes: on the wire; 0 when it never was there.
        when_s: when (monotonic).
    """

    number: int
    target: str
    message: Any
    reason: str
    size_bytes: int
    when_s: float


class DeadLetters:
    """The dead letters of one process. Any thread.

    Args:
        kept: how many are kept.
        kept_bytes: their size together at most.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        kept: int = KEPT,
        clock: Callable[[], float] = time.monotonic,
        *,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._letters: deque[DeadLetter] = deque()
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._serials = itertools.count(1)
        self._counts: dict[str, int] = {}
        self._logged = 0
        self._silent_until_s = 0.0
        self._unlogged = 0

    def add(self, target: str, message: Any, reason: str, size_bytes: int = 0) -> None:
        """Take one note of a message."""
        now_s = self._clock()
        with self._lock:
            number = next(self._serials)
            self._letters.append(DeadLetter(number, target, message, reason, size_bytes, now_s))
            self._bytes += size_bytes
            while len(self._letters) > self._kept or self._bytes > self._kept_bytes:
                self._bytes -= self._letters.popleft().size_bytes
            self._counts[reason] = self._counts.get(reason, 0) + 1
            line = self._line(target, reason, now_s)
        if line:
            _log.warning(line)

    def counts(self) -> dict[str, int]:
        """How many there were, by reason."""
        with self._lock:
            return dict(self._counts)

    def __len__(self) -> int:
        return len(self._letters)

    def letters(self) -> list[DeadLetter]:
        """Those that are kept, the oldest first."""
        with self._lock:
            return list(self._letters)

    def replay(
        self,
        send: Callable[[DeadLetter], None],
        which: Callable[[DeadLetter], bool] = lambda _letter: True,
    ) -> int:
        """Send some again; what is sent is kept no more.

        Args:
            send: sends one; a letter that it raises for is kept, and the error passes on.
            which: those to send.

        Returns:
            How many were sent.
        """
        sent = 0
        for letter in self.letters():
            if not which(letter):
                continue
            send(letter)
            self.discard(letter.number)
            sent += 1
        return sent

    def discard(self, number: int) -> bool:
        """Keep that one no more; whether it was kept."""
        with self._lock:
            letter = next((kept for kept in self._letters if kept.number == number), None)
            if letter is None:
                return False
            self._letters.remove(letter)
            self._bytes -= letter.size_bytes
            return True

    def _line(self, target: str, reason: str, now_s: float) -> str:
        """What to log, if anything: ten lines a minute at most."""
        if now_s >= self._silent_until_s:
            missed, self._unlogged, self._logged = self._unlogged, 0, 0
            self._silent_until_s = now_s + LOG_PAUSE_S
            if missed:
                self._logged = 1
                return f"dead letter for {target}: {reason} (and {missed} before it, not logged)"
        if self._logged >= LOG_BURST:
            self._unlogged += 1
            return ""
        self._logged += 1
        return f"dead letter for {target}: {reason}"


DEAD_LETTERS = DeadLetters()
"""Those of this process."""
