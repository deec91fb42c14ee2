"""What the CLI asks of us, and our answers: permissions, and the tools that are ours.

Each request is answered once, refused ones too: one that stays unanswered hangs the turn.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from .mcp import Cancellation
from .permissions import DENIED, PermissionRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .mcp import McpServer

    Send = Callable[[dict[str, Any]], None]

_log = logging.getLogger(__name__)

MAX_CALLS = 16
_JOIN_S = 5.0
PERMISSION_TIMEOUT_S = 300.0


class _Call:
    """A call of a tool under way. Each server counts its JSON-RPC ids for itself."""

    def __init__(self, server: str, rpc_id: object) -> None:
        self.key = (server, rpc_id)
        self.cancellation = Cancellation()
        self.thread: threading.Thread | None = None


class Answers:
    """Answers the CLI's control requests. `take` and `cancel` must not block, and do not.

    Args:
        send: writes a line to the CLI; may be called from any thread.
        servers: our tools.
        on_permission: called in the reader's thread with each request for permission; it must be
            quick: it hands the request on, and whoever decides answers it. None denies them all.
        permission_timeout_s: how long a request may stay open; then it is denied.
        on_settled: called whenever something that was open no longer is. Any thread.
    """

    def __init__(
        self,
        send: Send,
        *,
        servers: Sequence[McpServer] = (),
        on_permission: Callable[[PermissionRequest], None] | None = None,
        permission_timeout_s: float = PERMISSION_TIMEOUT_S,
        on_settled: Callable[[], None] = lambda: None,
    ) -> None:
        self._send = send
        self._servers = {server.name: server for server in servers}
        self._on_permission = on_permission
        self._permission_timeout_s = permission_timeout_s
        self._on_settled = on_settled
        self._lock = threading.Lock()
        self._calls: dict[str, _Call] = {}
        self._permissions: dict[str, PermissionRequest] = {}
        # Calls and requests that are over, but whose thread may still be about to end.
        self._threads: set[threading.Thread] = set()

    @property
    def server_names(self) -> list[str]:
        """The servers, to be declared to the CLI."""
        return list(self._servers)

    @property
    def is_waited_for(self) -> bool:
        """Whether the CLI waits for an answer of ours; then its silence is no stall. Any thread."""
        with self._lock:
            return bool(self._calls or self._permissions)

    def take(self, event: dict[str, Any]) -> None:
        """Answer a `control_request`, or have it answered. The reader's thread."""
        request_id, request = str(event.get("request_id")), _dict(event.get("request"))
        match request.get("subtype"):
            case "can_use_tool":
                self._ask(request_id, request)
            case "mcp_message":
                self._take_message(request_id, request)
            case other:
                self._reply(request_id, error=f"not supported here: {other}")

    def cancel(self, event: dict[str, Any]) -> None:
        """Take in a `control_cancel_request`: no answer is wanted. The reader's thread."""
        request_id = str(event.get("request_id"))
        with self._lock:
            permission = self._permissions.pop(request_id, None)
            call = self._calls.pop(request_id, None)
        if permission is not None:
            permission.withdraw()
        if call is not None:
            call.cancellation.cancel()
        self._on_settled()

    def end(self) -> None:
        """Nobody wants any answer any more. Any thread; safe to call twice."""
        with self._lock:
            permissions, self._permissions = self._permissions, {}
            calls, self._calls = self._calls, {}
        for permission in permissions.values():
            permission.close()
        for call in calls.values():
            call.cancellation.cancel()

    def close(self) -> None:
        """`end`, and wait a while for the threads of calls that were cancelled."""
        self.end()
        deadline = time.monotonic() + _JOIN_S
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    # -- permissions --------------------------------------------------------------------------

    def _ask(self, request_id: str, request: dict[str, Any]) -> None:
        if self._on_permission is None:
            self._reply(request_id, {"behavior": "deny", "message": DENIED})
            return

        def answer(response: dict[str, Any]) -> None:
            with self._lock:
                self._permissions.pop(request_id, None)
            self._reply(request_id, response)
            self._on_settled()

        permission = PermissionRequest(request_id, request, self._permission_timeout_s, answer)
        with self._lock:
            self._permissions[request_id] = permission
        permission.open_to(self._on_permission)

    # -- tools --------------------------------------------------------------------------------

    def _take_message(self, request_id: str, request: dict[str, Any]) -> None:
        name, message = str(request.get("server_name")), _dict(request.get("message"))
        server = self._servers.get(name)
        if server is None:
            self._reply(request_id, error=f"there is no server {name!r} here")
        elif message.get("method") == "tools/call":
            self._start(request_id, server, message)
        else:
            if message.get("method") == "notifications/cancelled":
                self._cancel_call((name, _dict(message.get("params")).get("requestId")))
            self._reply(request_id, {"mcp_response": server.answer(message, Cancellation())})

    def _start(self, request_id: str, server: McpServer, message: dict[str, Any]) -> None:
        call = _Call(server.name, message.get("id"))
        with self._lock:
            is_full = len(self._calls) >= MAX_CALLS
            if not is_full:
                self._calls[request_id] = call
        if is_full:
            self._reply(request_id, error=f"{MAX_CALLS} calls are under way; make fewer at once")
            return
        call.thread = threading.Thread(
            target=self._run,
            args=(request_id, call, server, message),
            name=f"understudy-tool-{server.name}",
            daemon=True,
        )
        self._threads.add(call.thread)
        call.thread.start()

    def _run(
        self, request_id: str, call: _Call, server: McpServer, message: dict[str, Any]
    ) -> None:
        started = time.monotonic()
        try:
            response = server.answer(message, call.cancellation)
            with self._lock:
                is_wanted = self._calls.pop(request_id, None) is not None
            if is_wanted:
                self._reply(request_id, {"mcp_response": response})
                self._on_settled()
            _log.debug("a tool call took %.6f s", time.monotonic() - started)
        finally:
            self._threads.discard(threading.current_thread())

    def _cancel_call(self, wanted: tuple[str, object]) -> None:
        with self._lock:
            ids = [key for key, call in self._calls.items() if call.key == wanted]
            calls = [self._calls.pop(key) for key in ids]
        for call in calls:
            call.cancellation.cancel()
        self._on_settled()

    def _reply(
        self, request_id: str, response: dict[str, Any] | None = None, error: str | None = None
    ) -> None:
        content = {"subtype": "success", "response": response}
        if error is not None:
            content = {"subtype": "error", "error": error}
        line = {"type": "control_response", "response": {"request_id": request_id, **content}}
        self._send(line)


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
