"""What a request would have the API itself reach: that would be a way out, too. Pure.

The API can search the web, fetch an address, call a tool server or run code for whoever asks. No
tool of an agent needs it, but whoever writes requests of his own, as a command in a container can,
could carry files out by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

# Tools that the client runs itself; all others are run by the API.
_OWN_TOOLS = ("bash_", "computer_", "memory_", "text_editor_", "tool_search_tool_")
# Of an image or a document: what is in the request itself. Not an address, nor another's file.
_OWN_SOURCES = ("base64", "content", "text")
# Reading takes time and memory by the number of parts, not of bytes: 40 MB of `{},` would hold up
# all agents for seconds. The largest conversations, of a million tokens, have far less of both,
# also counted as here: with what stands in their texts. At the limits it takes half a second.
MAX_HOLDERS = 250_000
MAX_COMMAS = 1_000_000


class ReachesOut(Exception):
    """A request is not passed on; the message says what in it."""


class TooManyParts(Exception):
    """A request would take too long to read; the message says what it has too many of."""


def check_parts(body: bytes) -> None:
    """Make sure that a request can be read soon.

    Raises:
        TooManyParts: it cannot.
    """
    holders = body.count(b"{") + body.count(b"[")
    if holders > MAX_HOLDERS:
        raise TooManyParts(f"it has {holders} opening brackets; {MAX_HOLDERS} are the most")
    if (commas := body.count(b",")) > MAX_COMMAS:
        raise TooManyParts(f"it has {commas} commas; {MAX_COMMAS} are the most")


def plain_body(body: bytes) -> bytes:
    """The request as it goes to the API, which has nothing in it that would reach out.

    It is written anew: of a key that comes twice, or anything else that two readers may read in two
    ways, the API sees what was checked.

    Raises:
        ReachesOut: it has, or it cannot be read.
        TooManyParts: see `check_parts`.
    """
    check_parts(body)
    try:
        request = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReachesOut(f"the request is no JSON: {error}") from None
    if not isinstance(request, dict):
        raise ReachesOut("the request is no object")
    fields = cast("dict[str, Any]", request)
    if fields.get("mcp_servers"):
        raise ReachesOut("mcp_servers: the API would call other servers")
    for tool in _dicts(fields.get("tools")):
        kind = tool.get("type") or "custom"
        if kind != "custom" and not str(kind).startswith(_OWN_TOOLS):
            raise ReachesOut(f"the tool {kind!r}: the API would run it, with a network of its own")
    contents = [message.get("content") for message in _dicts(fields.get("messages"))]
    for block in (b for content in [*contents, fields.get("system")] for b in _blocks(content)):
        kind = _source(block).get("type", "base64")
        if kind not in _OWN_SOURCES:
            raise ReachesOut(f"a source of type {kind!r}: the API would fetch it")
    return msgspec.json.encode(request)


def _blocks(content: object) -> Iterator[dict[str, Any]]:
    """The blocks of a content, and those in them; what a tool was called with is none."""
    for block in _dicts(content):
        yield block
        yield from _blocks(block.get("content"))
        yield from _blocks(_source(block).get("content"))


def _source(block: dict[str, Any]) -> dict[str, Any]:
    source = block.get("source")
    return cast("dict[str, Any]", source) if isinstance(source, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [cast("dict[str, Any]", value)]
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
