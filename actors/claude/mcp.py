"""Tools of ours that the model can call: MCP spoken over the CLI's own stdio, nothing listens.

The CLI sends each JSON-RPC message of a server of type `sdk` as a control request `mcp_message`.
2.1.197 shakes hands twice, with the same JSON-RPC ids and both at once, so an answer belongs to its
control request and never to a JSON-RPC id.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_log = logging.getLogger(__name__)

_PROTOCOL_VERSION = "2025-06-18"
_NO_SUCH_METHOD = -32601
# More is put into a file by the CLI, with a note where: out of the model's sight until it looks.
RESULT_LIMIT_CHARS = 40_000


class ToolError(Exception):
    """A tool could not do it; the text is for the model, and says what it can do instead."""


class Cancellation:
    """Tells a running call that nobody wants its result any more. Any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether it is cancelled."""
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` seconds for a cancellation; whether there was one."""
        return self._event.wait(timeout_s)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call it once when cancelled, in the thread that cancels; at once if that has happened.

        It must be quick.
        """
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def cancel(self) -> None:
        """Cancel. Safe to call twice."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - one listener's fault must not keep the others waiting
                _log.exception("a cancelled call could not be told")


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        name: without the server's name.
        description: what the model reads to know when and how to use it.
        input_schema: JSON schema of the arguments.
        run: called in a thread of its own with the arguments as they came and a cancellation;
            returns the text of the result. `ToolError` is a result too, marked as an error.
        parallel: the CLI may run several calls at once. It takes that from the hint that the tool
            only reads.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any]
    run: Callable[[Mapping[str, Any], Cancellation], str]
    parallel: bool = True


class McpServer:
    """A named set of tools. Holds no state of a connection: any message may come at any time."""

    def __init__(self, name: str, tools: Iterable[Tool]) -> None:
        self.name = name
        self._tools = {tool.name: tool for tool in tools}

    @property
    def tool_names(self) -> tuple[str, ...]:
        """The tools as the model and the permission rules name them."""
        return tuple(f"mcp__{self.name}__{name}" for name in self._tools)

    def answer(self, message: Mapping[str, Any], cancellation: Cancellation) -> dict[str, Any]:
        """The JSON-RPC answer. A call of a tool takes its time, everything else none."""
        params = _dict(message.get("params"))
        method = message.get("method")
        match method:
            case "initialize":
                return _result(message, self._greeting(params))
            case "tools/list":
                return _result(message, {"tools": [_shown(each) for each in self._tools.values()]})
            case "tools/call":
                return _result(message, self._call(params, cancellation))
            case "ping":
                return _result(message, {})
            case str() if method.startswith("notifications/"):
                # A notification has no id, but its control request wants an answer.
                return _result(message, {})
            case _:
                error = {"code": _NO_SUCH_METHOD, "message": f"no such method: {method}"}
                return {"jsonrpc": "2.0", "id": message.get("id"), "error": error}

    def _greeting(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "protocolVersion": params.get("protocolVersion") or _PROTOCOL_VERSION,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": self.name, "version": "1"},
        }

    def _call(self, params: Mapping[str, Any], cancellation: Cancellation) -> dict[str, Any]:
        name = str(params.get("name"))
        try:
            tool = self._tools.get(name)
            if tool is None:
                names = ", ".join(self._tools)
                raise ToolError(f"there is no tool {name!r}; the tools are: {names}")  # noqa: TRY301 - the one way out for all errors
            text, failed = tool.run(_dict(params.get("arguments")), cancellation), False
        except ToolError as error:
            text, failed = str(error), True
        except Exception as error:  # noqa: BLE001 - the model waits: it gets an answer whatever goes wrong
            _log.exception("the tool %s failed", name)
            text, failed = f"{name} failed inside ({type(error).__name__}); go on without it", True
        return {"content": [{"type": "text", "text": _cut(text)}], "isError": failed}


def _shown(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": dict(tool.input_schema),
        "annotations": {"readOnlyHint": tool.parallel},
    }


def _cut(text: str) -> str:
    if len(text) <= RESULT_LIMIT_CHARS:
        return text
    return f"{text[:RESULT_LIMIT_CHARS]}\n[cut here: {len(text)} characters in all]"


def _result(message: Mapping[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"jsonrpc": "2.0", "result": result}
    return answer | {"id": message["id"]} if "id" in message else answer


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
