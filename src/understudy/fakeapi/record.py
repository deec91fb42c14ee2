"""What was asked of the scripted model, kept for whoever tests with it."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from typing import IO, TYPE_CHECKING, Any

from understudy.fakeapi.errors import FakeApiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_KEPT = 1000


class Record:
    """The newest requests, newest last, and how often each was tried. Used in one thread.

    Args:
        log: a file to which a JSON line is added for each entry.
        clock: epoch seconds.

    Raises:
        FakeApiError: the log cannot be opened.
    """

    def __init__(self, log: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._attempts: Counter[str] = Counter()
        self._file: IO[str] | None = None
        if log is not None:
            try:
                self._file = log.open("a", buffering=1, encoding="utf-8")
            except OSError as error:
                reason = f"cannot be written: {error.strerror}"
                raise FakeApiError(str(log), reason, "name another log file") from None

    @property
    def entries(self) -> list[dict[str, Any]]:
        """A copy of the entries."""
        return list(self._entries)

    def add(self, entry: dict[str, Any]) -> None:
        """Keep an entry; it gets the time as `t`."""
        entry = {"t": round(self._clock(), 3), **entry}
        self._entries.append(entry)
        if self._file is not None:
            self._file.write(json.dumps(entry) + "\n")

    def attempt(self, request: str) -> int:
        """Count one more try of that request; how many it were."""
        self._attempts[request] += 1
        return self._attempts[request]

    def reset(self) -> None:
        """Forget entries and tries."""
        self._entries.clear()
        self._attempts.clear()

    def close(self) -> None:
        """Close the log. Safe to call again."""
        if self._file is not None:
            self._file.close()
