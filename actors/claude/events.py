"""What the CLI's events mean: pure helpers, tolerant of fields that a release does not have."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

WORK_DIR = "/work/"
_SHOWN_CHARS = 120
# The input field that tells most about a call, by tool.
_TELLING_INPUT = {
    "Read": "file_path",
    "Edit": "file_path",
    "Write": "file_path",
    "Grep": "pattern",
    "Glob": "pattern",
    "Bash": "command",
}
_WAITING_FOR = {429: "rate limited", 529: "overloaded", 401: "key refused"}


@dataclass(frozen=True)
class Usage:
    """Tokens of one turn, as the API counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    num_turns: int = 0

    @classmethod
    def of(cls, result: dict[str, Any]) -> Usage:
        """The usage in a `result` event; what is missing counts as 0."""
        usage = _dict(result.get("usage"))
        return cls(
            input_tokens=_count(usage.get("input_tokens")),
            output_tokens=_count(usage.get("output_tokens")),
            cache_read_input_tokens=_count(usage.get("cache_read_input_tokens")),
            cache_creation_input_tokens=_count(usage.get("cache_creation_input_tokens")),
            num_turns=_count(result.get("num_turns")),
        )

    def to_dict(self) -> dict[str, int]:
        """The same as plain data."""
        return asdict(self)


def cost_delta(previous_total_usd: float, result: dict[str, Any]) -> float | None:
    """What one turn cost in US dollars; None when the CLI does not say.

    `total_cost_usd` counts for the whole process. A total below the one before means that the count
    began anew, as 2.1.330 does at `/clear`.
    """
    total = result.get("total_cost_usd")
    if not isinstance(total, int | float) or isinstance(total, bool):
        return None
    if total < previous_total_usd:
        return float(total)
    return float(total) - previous_total_usd


def summarize(event: dict[str, Any]) -> str | None:
    """An event in a few words for people who watch, or None when it tells them nothing."""
    match event.get("type"), event.get("subtype"):
        case "assistant", _:
            return _summarize_answer(event)
        case "system", "api_retry":
            return _summarize_retry(event)
        case _:
            return None


def _summarize_answer(event: dict[str, Any]) -> str | None:
    message = _dict(event.get("message"))
    blocks: Any = message.get("content")
    if not isinstance(blocks, list):
        return None
    texts = (_summarize_block(_dict(block)) for block in cast("Iterable[Any]", blocks))
    return next((text for text in texts if text), None)


def _summarize_block(block: dict[str, Any]) -> str | None:
    if block.get("type") == "text":
        return _short(str(block.get("text") or "")) or None
    if block.get("type") != "tool_use":
        return None
    name = str(block.get("name"))
    if name == "StructuredOutput":
        return "hands in its result"
    what = _dict(block.get("input")).get(_TELLING_INPUT.get(name, ""))
    return _short(f"{name} {str(what).removeprefix(WORK_DIR)}") if what else name


def _summarize_retry(event: dict[str, Any]) -> str:
    status = event.get("error_status")
    why = _WAITING_FOR.get(_count(status), f"status {status}" if status else "not reachable")
    wait_s = _count(event.get("retry_delay_ms")) / 1000
    tries = f"{event.get('attempt')} of {event.get('max_retries')}"
    return f"API {why}: retry {tries} in {wait_s:.1f} s"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…"


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
