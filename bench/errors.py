"""What can be wrong with a benchmark's input or run."""

from __future__ import annotations


class BenchError(Exception):
    """Something the caller can mend; the message says how.

    Attributes:
        message: what is wrong, where, and how to mend it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
