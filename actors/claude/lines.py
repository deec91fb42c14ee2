"""Chunks in, whole lines out: the framing of the CLI's output."""

from __future__ import annotations


class LineTooLong(ValueError):
    """A line exceeds what this end is ready to hold in memory."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"a line of more than {self.limit_bytes} bytes"


class LineSplitter:
    """Splits a byte stream at newlines, whatever the pieces it comes in.

    A line of some megabytes is normal: Claude Code puts the whole old file into an edit's event.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their newlines.

        Raises:
            LineTooLong: no newline came for `limit_bytes`. The stream cannot be followed further.
        """
        head, newline, rest = chunk.partition(b"\n")
        if not newline:
            self._keep(chunk)
            return []
        self._keep(head)
        lines = [b"".join(self._pieces)]
        *whole, tail = rest.split(b"\n")
        lines += whole
        self._pieces, self._size = [], 0
        if any(len(line) > self._limit_bytes for line in whole):
            raise LineTooLong(self._limit_bytes)
        self._keep(tail)
        return lines

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit_bytes:
            raise LineTooLong(self._limit_bytes)
        if piece:
            self._pieces.append(piece)
