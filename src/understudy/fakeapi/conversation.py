"""A request's messages, read: who said what, which tools were called, what came back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)


@dataclass(frozen=True)
class ToolCall:
    """A call that the model made, and what came back; `result` is None while nothing did."""

    name: str
    arguments: dict[str, Any]
    result: str | None
    is_error: bool


class Conversation:
    """The body of a request to `/v1/messages`. What is malformed reads as empty."""

    def __init__(self, body: object) -> None:
        self.body = mapping(body)
        self.messages = [mapping(message) for message in sequence(self.body.get("messages"))]

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """The offered tools by name."""
        offered = [mapping(tool) for tool in sequence(self.body.get("tools"))]
        return {str(tool.get("name")): tool for tool in offered}

    def answers_after(self, index: int) -> int:
        """How many messages after that one are the model's."""
        return sum(message.get("role") == "assistant" for message in self.messages[index + 1 :])

    def newest_task(self) -> tuple[str, int]:
        """The newest text that a user wrote, and its index; tool results and reminders are none."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].get("role") == "user":
                text = _REMINDER.sub("", text_of(self.messages[index])).strip()
                if text:
                    return text, index
        return "", -1

    def newest_tool_result(self) -> str:
        """The text of the newest tool result without reminders around it, or ""."""
        for message in reversed(self.messages):
            for block in reversed(blocks_of(message)):
                if block.get("type") == "tool_result":
                    return _REMINDER.sub("", flat_text(block.get("content"))).rstrip("\n")
        return ""

    def calls_after(self, index: int) -> list[ToolCall]:
        """The tool calls in the messages after that one, in order."""
        blocks = [block for message in self.messages[index + 1 :] for block in blocks_of(message)]
        results = {
            block.get("tool_use_id"): block
            for block in blocks
            if block.get("type") == "tool_result"
        }
        return [
            _call(block, results.get(block.get("id")))
            for block in blocks
            if block.get("type") == "tool_use"
        ]


def text_of(message: dict[str, Any]) -> str:
    """All text of one message, tool results left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = [block.get("text") for block in blocks_of(message) if block.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of one message; plain text has none."""
    return [mapping(block) for block in sequence(message.get("content"))]


def flat_text(content: object) -> str:
    """The text of a tool result's content, in whichever form it came."""
    if isinstance(content, str):
        return content
    texts = [mapping(block).get("text") for block in sequence(content)]
    return "".join(text for text in texts if isinstance(text, str))


def mapping(value: object) -> dict[str, Any]:
    """The value, when it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    """The value, when it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def _call(use: dict[str, Any], result: dict[str, Any] | None) -> ToolCall:
    return ToolCall(
        name=str(use.get("name")),
        arguments=mapping(use.get("input")),
        result=None if result is None else flat_text(result.get("content")),
        is_error=bool(result and result.get("is_error")),
    )
