from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.actors.gateway.outward import (
    MAX_COMMAS,
    MAX_HOLDERS,
    ReachesOut,
    TooManyParts,
    plain_body,
)

URL = {"type": "url", "url": "https://evil.example/?secret"}
IMAGE = {"type": "image", "source": URL}


def request(**fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps({"model": "m", "max_tokens": 1, "messages": []} | fields).encode()


def said(*content: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {"messages": [{"role": "user", "content": list(content)}]}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mcp_servers": [{"type": "url", "url": "https://evil.example"}]}, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
        ({"tools": [{"name": "a"}, {"type": "web_fetch_20250910"}]}, "web_fetch"),
        ({"tools": [{"type": "code_execution_20250825"}]}, "code_execution"),
        ({"tools": {"type": "mcp_toolset"}}, "mcp_toolset"),
        (said(IMAGE), "'url'"),
        (said({"type": "document", "source": {"type": "file", "file_id": "f"}}), "'file'"),
        (said({"type": "tool_result", "content": [IMAGE]}), "'url'"),
        (
            said({"type": "document", "source": {"type": "content", "content": [IMAGE]}}),
            "'url'",
        ),
        ({"system": [IMAGE]}, "'url'"),
    ],
)
def test_what_would_have_the_api_reach_out_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ReachesOut, match=says):
        plain_body(request(**fields))


PASSES: list[dict[str, Any]] = [
    {"tools": [{"name": "Bash", "input_schema": {}}, {"type": "custom", "name": "x"}]},
    {"tools": [{"type": "bash_20250124", "name": "bash"}], "mcp_servers": []},
    said({"type": "text", "text": "https://evil.example"}),
    said({"type": "image", "source": {"type": "base64", "data": "QQ=="}}),
    # What a tool was called with is the model's word, and goes nowhere.
    said({"type": "tool_use", "input": IMAGE}),
    {"messages": [{"role": "user", "content": "hello"}], "system": "be good"},
    {"temperature": 1.0, "stream": True, "metadata": {"user_id": None}, "n": 2**64},
]


@pytest.mark.parametrize("fields", PASSES)
def test_what_an_agent_asks_passes_with_its_meaning(fields: dict[str, Any]) -> None:
    body = request(**fields)
    assert json.loads(plain_body(body)) == json.loads(body)


def test_of_a_key_that_comes_twice_the_api_sees_the_one_that_was_checked() -> None:
    twice = b'{"tools":[{"type":"web_fetch_1"}],"tools":[],"messages":[]}'
    assert plain_body(twice) == b'{"tools":[],"messages":[]}'


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"7", b"\xff", b'{"a":' * 100_000])
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(ReachesOut):
        plain_body(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        # No JSON at all: it is not even tried to read them.
        (b"{" * (MAX_HOLDERS // 2) + b"[" * (MAX_HOLDERS // 2 + 1), "opening brackets"),
        (b"," * (MAX_COMMAS + 1), "commas"),
        (b'{"messages":[' + b"{}," * MAX_HOLDERS + b"{}]}", "opening brackets"),
    ],
    ids=["brackets", "commas", "messages"],
)
def test_what_would_take_long_to_read_is_not_read(body: bytes, says: str) -> None:
    with pytest.raises(TooManyParts, match=says):
        plain_body(body)


def test_a_conversation_of_a_million_tokens_of_code_passes() -> None:
    # Four bytes are a token, by and large.
    code = "for (const each of [1, 2, 3]) { await log({name: each, at: now()}); }\n" * 57_000
    turns = [{"role": "user", "content": [{"type": "text", "text": code[n : n + 1000]}]}
             for n in range(0, len(code), 1000)]  # fmt: skip
    body = json.dumps({"messages": turns}).encode()
    assert json.loads(plain_body(body)) == {"messages": turns}


@given(st.binary(max_size=100))
def test_any_bytes_pass_or_are_refused(body: bytes) -> None:
    try:
        assert isinstance(json.loads(plain_body(body)), dict)
    except ReachesOut:
        return
