"""Counting tokens in an answer while it passes, without holding it up and without keeping it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, cast

# An event that tells usage has a few hundred bytes; a longer line is text, and can be let go.
_MAX_LINE_BYTES = 256 << 10
_COUNTERS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer as the API told them, and the model that it named.

    `output_tokens` of an answer that was cut is what had been told until then: the API says the
    true number in the last event only.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    model: str | None = None
    # Of those written to the cache, how many stay an hour: these cost more.
    cache_creation_1h_input_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All kinds together."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_input_tokens
            + self.cache_creation_input_tokens
        )

    def to_wire(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


class UsageMeter:
    """Reads one answer, in pieces of any size. Never raises for what it cannot read."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_skipping = False
        self._counts: dict[str, int] = {}
        self._model: str | None = None
        self._is_complete = False

    @property
    def is_complete(self) -> bool:
        """Whether the answer's own end was seen."""
        return self._is_complete

    @property
    def pending_bytes(self) -> int:
        """What is held of a line that has not ended yet."""
        return len(self._line)

    def totals(self) -> Usage:
        """What was counted so far."""
        return Usage(**self._counts, model=self._model)

    def feed(self, data: bytes) -> None:
        """Read the next bytes of an event stream."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._end_line(data[start:end])
            start = end + 1
        self._keep(data[start:])

    def feed_json(self, body: bytes) -> None:
        """Read a whole answer that was not streamed."""
        message = _parsed(body)
        if message.get("type") == "message":
            self._take(message)
            self._is_complete = True

    def _end_line(self, piece: bytes) -> None:
        self._keep(piece)
        line, skipped = bytes(self._line), self._is_skipping
        self._line.clear()
        self._is_skipping = False
        if not skipped:
            self._read_line(line)

    def _keep(self, piece: bytes) -> None:
        if self._is_skipping:
            return
        self._line += piece
        if len(self._line) > _MAX_LINE_BYTES:
            self._line.clear()
            self._is_skipping = True

    def _read_line(self, line: bytes) -> None:
        # Quotes inside of JSON text are escaped, so only a key or a value looks like these two.
        if not line.startswith(b"data:") or (
            b'"usage"' not in line and b'"message_stop"' not in line
        ):
            return
        event = _parsed(line[len(b"data:") :])
        match event.get("type"):
            case "message_start":
                self._take(_mapping(event.get("message")))
            case "message_delta":
                self._take(event)
            case "message_stop":
                self._is_complete = True
            case _:
                pass

    def _take(self, holder: dict[str, Any]) -> None:
        """Take the newest numbers: those of a `message_delta` are totals, not steps."""
        model = holder.get("model")
        if isinstance(model, str):
            self._model = model
        usage = _mapping(holder.get("usage"))
        for name in _COUNTERS:
            value = usage.get(name)
            if isinstance(value, int) and value >= 0:
                self._counts[name] = value
        long_lived = _mapping(usage.get("cache_creation")).get("ephemeral_1h_input_tokens")
        if isinstance(long_lived, int) and long_lived >= 0:
            self._counts["cache_creation_1h_input_tokens"] = long_lived


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        return _mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
