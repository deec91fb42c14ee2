"""A step as the API's content blocks and stream events. Pure data, no I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from understudy.fakeapi.script import Step

DEFAULT_OUTPUT_TOKENS = 5
_USAGE = {
    "input_tokens": 10,
    "output_tokens": DEFAULT_OUTPUT_TOKENS,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
}
_SLOW_PIECES = 10
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(status: int, kind: str | None, message: str | None) -> dict[str, Any]:
    """An error as the API writes it."""
    return {
        "type": "error",
        "error": {
            "type": kind or ERROR_TYPES.get(status, "api_error"),
            "message": message or f"scripted error {status}",
        },
    }


def message_of(
    step: Step, *, model: str, tool_result: str, new_id: Callable[[str], str]
) -> dict[str, Any]:
    """The whole message that a step answers with.

    Args:
        step: what to say.
        model: the name to answer under.
        tool_result: what stands for `{{tool_result}}` in a text.
        new_id: makes a unique id from a prefix.
    """
    blocks = list(_blocks(step, tool_result, new_id))
    calls_tools = any(block["type"] == "tool_use" for block in blocks)
    return {
        "id": new_id("msg_fake_"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": step.stop_reason or ("tool_use" if calls_tools else "end_turn"),
        "stop_sequence": None,
        "usage": {**_USAGE, **step.usage},
    }


def _blocks(step: Step, tool_result: str, new_id: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    if step.thinking is not None:
        yield {"type": "thinking", "thinking": step.thinking, "signature": "ZmFrZQ=="}
    calls = [*step.tools, *([(step.tool, step.input)] if step.tool else [])]
    if step.text is not None:
        yield {"type": "text", "text": step.text.replace("{{tool_result}}", tool_result)}
    for name, arguments in calls:
        yield {"type": "tool_use", "id": new_id("toolu_fake_"), "name": name, "input": arguments}
    if step.text is None and step.thinking is None and not calls:
        yield {"type": "text", "text": "ok"}


def start_event(message: dict[str, Any]) -> bytes:
    """The event that opens a stream."""
    # What will be said is not known yet: the true number comes at the end.
    usage = {**message["usage"], "output_tokens": min(1, message["usage"]["output_tokens"])}
    opened: dict[str, Any] = {**message, "content": [], "stop_reason": None, "usage": usage}
    return event("message_start", message=opened)


def end_events(message: dict[str, Any]) -> Iterator[bytes]:
    """The events that end a stream."""
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": message["usage"]["output_tokens"]}
    yield event("message_delta", delta=delta, usage=usage)
    yield event("message_stop")


def block_events(index: int, block: dict[str, Any], step: Step) -> list[bytes]:
    """The events of one content block: its start, its pieces, its end."""
    opened, deltas = _opened(block, step)
    return [
        event("content_block_start", index=index, content_block=opened),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def _opened(block: dict[str, Any], step: Step) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "tool_use":
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            return {**block, "input": {}}, [delta]
        case "thinking":
            thought = {"type": "thinking_delta", "thinking": block["thinking"]}
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [thought, signed]
        case _:
            pieces = _pieces(block["text"], step)
            return {**block, "text": ""}, [{"type": "text_delta", "text": each} for each in pieces]


def _pieces(text: str, step: Step) -> list[str]:
    count = step.pieces or (_SLOW_PIECES if step.slow else 1)
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]


def event(name: str, **fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    """One server-sent event."""
    data = json.dumps({"type": name, **fields})
    return f"event: {name}\ndata: {data}\n\n".encode()
