"""What one run's turns with the CLI have said and cost so far."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from typing import Any

from .claude.events import Usage, summarize

_LAST = 8


@dataclass
class TalkSoFar:
    """Events come in the reader's thread, the rest is for the thread that runs the turns.

    Attributes:
        usage: the tokens of all turns.
        cost_usd: their cost in US dollars; None when one of them does not say.
        has_answers: whether the model has answered anything.
        compacted: whether the CLI has summed the conversation up when it tried last.
    """

    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0
    has_answers: bool = False
    compacted: bool = False
    _said: deque[str] = field(default_factory=lambda: deque[str](maxlen=_LAST))

    def note(self, event: dict[str, Any]) -> None:
        """Take an event as it comes."""
        if event.get("subtype") == "status" and "compact_result" in event:
            self.compacted = event["compact_result"] == "success"
        if event.get("type") != "assistant" or event.get("error"):
            return
        if text := summarize(event):
            self.has_answers = True
            self._said.append(text)

    def count(self, event: dict[str, Any], cost_usd: float | None) -> None:
        """Take the event that ended a turn, and what the turn cost."""
        more = Usage.of(event)
        names = [one.name for one in fields(Usage)]
        self.usage = Usage(*(getattr(self.usage, name) + getattr(more, name) for name in names))
        known = self.cost_usd is not None and cost_usd is not None
        self.cost_usd = (self.cost_usd or 0.0) + (cost_usd or 0.0) if known else None

    def last_said(self) -> list[str]:
        """The last texts and calls of the model, each in a few words, the oldest first."""
        return list(self._said)
