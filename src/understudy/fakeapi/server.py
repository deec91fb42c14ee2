"""The scripted model's HTTP server, on a TCP port or a Unix socket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec
from aiohttp import web

from understudy.actors.gateway.serving import close_runner
from understudy.actors.gateway.sockets import UnixListener
from understudy.fakeapi.content import DEFAULT_OUTPUT_TOKENS, error_body
from understudy.fakeapi.conversation import Conversation
from understudy.fakeapi.errors import FakeApiError
from understudy.fakeapi.player import Player
from understudy.fakeapi.quota import Gauge
from understudy.fakeapi.record import Record
from understudy.fakeapi.reviewer import unscripted_choice
from understudy.fakeapi.script import Scenarios, scripted_choice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from understudy.fakeapi.script import Choice, Step

_MAX_BODY_BYTES = 64 << 20
_STOP_S = 0.2
_IDLE_S = 24 * 3600.0


class FakeApi:
    """Serves `/v1/messages` and `/v1/messages/count_tokens`, and `/_fake/…` for whoever tests.

    Args:
        scenarios: scripts by name, and rules.
        model: asked before any script; None from it leaves the answer to them.
        require_key: answer 401 to every other key.
        log: a file that gets a JSON line per request.
        bodies: keep headers and bodies of the requests too.
        sleep: waits some seconds.

    Raises:
        FakeApiError: the log cannot be written.
    """

    def __init__(
        self,
        scenarios: Scenarios | None = None,
        *,
        model: Callable[[Conversation], Choice | None] = lambda _: None,
        require_key: str | None = None,
        log: Path | None = None,
        bodies: bool = False,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._scenarios = scenarios or Scenarios()
        self._model = model
        self._require_key = require_key
        self._bodies = bodies
        self._record = Record(log)
        self._player = Player(self._record.add, sleep=sleep)
        self._gauge = Gauge(time.monotonic, time.time)
        self._gauge.set(self._scenarios.quota, self._scenarios.storm)
        self._runner: web.AppRunner | None = None
        self._listeners: list[UnixListener] = []

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What was recorded, newest last: the same as `GET /_fake/requests`."""
        return self._record.entries

    async def start_tcp(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen on a port; 0 picks one. Returns the URL.

        Raises:
            FakeApiError: the address is taken, or not this machine's.
        """
        site = web.TCPSite(await self._ready_runner(), host, port)
        try:
            await site.start()
        except OSError as error:
            reason = f"cannot be listened on: {error.strerror}"
            raise FakeApiError(f"{host}:{port}", reason, "choose another port") from None
        assert self._runner is not None
        bound = self._runner.addresses[-1]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        return f"http://{shown}:{bound[1]}"

    async def start_unix(self, path: str) -> str:
        """Listen on a Unix socket that every user may use. Returns `unix:PATH`.

        Raises:
            TransportError: no socket can be made at the path.
        """
        listener = UnixListener(path)
        self._listeners.append(listener)
        await web.SockSite(await self._ready_runner(), listener.sock).start()
        return f"unix:{path}"

    async def close(self) -> None:
        """Stop listening and cut what is still answered. Safe to call again."""
        for listener in self._listeners:
            listener.unlink()
        if self._runner is not None:
            await close_runner(self._runner)
        for listener in self._listeners:
            listener.close()
        self._record.close()

    async def _ready_runner(self) -> web.AppRunner:
        if self._runner is None:
            app = web.Application(client_max_size=_MAX_BODY_BYTES)
            app.router.add_get("/_fake/requests", self._get_requests)
            app.router.add_post("/_fake/reset", self._reset)
            app.router.add_post("/_fake/scenarios", self._set_scenarios)
            app.router.add_post("/v1/messages", self._messages)
            app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
            app.router.add_route("*", "/{path:.*}", self._nothing)
            self._runner = web.AppRunner(
                app,
                # A hanging answer must notice that its client hung up.
                handler_cancellation=True,
                access_log=None,
                keepalive_timeout=_IDLE_S,
                shutdown_timeout=_STOP_S,
            )
            await self._runner.setup()
        return self._runner

    # -- the API ------------------------------------------------------------------------------

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        conversation = _read(raw)
        if conversation is None:
            return self._player.error(400, message="the body is no JSON object")
        choice = (
            self._model(conversation)
            or scripted_choice(conversation, self._scenarios)
            or unscripted_choice(conversation)
        )
        self._note(request, raw, conversation, choice)
        if not self._may(request):
            return self._player.error(401, message="invalid x-api-key")
        refusal = self._gauge.admit(max(1, len(raw) // 4))
        if refusal is not None:
            self._record.add({"ev": "refused", "status": refusal.status})
            return self._player.json(
                refusal.status, error_body(refusal.status, None, None), refusal.headers
            )
        step = self._current(choice.step, request, conversation)
        # Before it is said: what is spent shows in the head of the next answer.
        self._gauge.spend(step.usage.get("output_tokens", DEFAULT_OUTPUT_TOKENS))
        return await self._player.play(request, conversation, step, self._gauge.head())

    async def _count_tokens(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self._record.add(_entry(request, raw))
        if not self._may(request):
            return self._player.error(401, message="invalid x-api-key")
        return self._player.json(200, {"input_tokens": max(1, len(raw) // 4)})

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        self._record.add(_entry(request, b""))
        return self._player.error(404)

    def _current(self, step: Step, request: web.Request, conversation: Conversation) -> Step:
        """The step itself for its first `times` tries, then what follows it."""
        if not step.times:
            return step
        messages = json.dumps(conversation.messages, sort_keys=True).encode()
        digest = hashlib.sha256(_key(request).encode() + b"\0" + messages).hexdigest()
        return step.recovered if self._record.attempt(digest) > step.times else step

    def _may(self, request: web.Request) -> bool:
        return self._require_key is None or _key(request) == self._require_key

    def _note(
        self, request: web.Request, raw: bytes, conversation: Conversation, choice: Choice
    ) -> None:
        body = conversation.body
        entry = {
            **_entry(request, raw),
            "model": body.get("model"),
            "stream": bool(body.get("stream")),
            "max_tokens": body.get("max_tokens"),
            "messages": len(conversation.messages),
            "tools": list(conversation.tools),
            "why": choice.why,
            "step": msgspec.to_builtins(choice.step),
        }
        if self._bodies:
            entry |= {"headers": dict(request.headers), "body": body}
        self._record.add(entry)

    # -- for whoever tests --------------------------------------------------------------------

    async def _get_requests(self, request: web.Request) -> web.StreamResponse:
        del request
        return self._player.json(200, self.requests)

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        del request
        self._record.reset()
        return self._player.json(200, {})

    async def _set_scenarios(self, request: web.Request) -> web.StreamResponse:
        try:
            self._scenarios = Scenarios(msgspec.json.decode(await request.read()))
            self._gauge.set(self._scenarios.quota, self._scenarios.storm)
        except (FakeApiError, msgspec.DecodeError) as error:
            return self._player.error(400, message=str(error))
        return self._player.json(200, {})


def run_server(
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    unix: Path | None = None,
    scenarios: Path | None = None,
    require_key: str | None = None,
    log: Path | None = None,
    announce: Callable[[str], None] = lambda _where: None,
) -> None:
    """Serve until interrupted; for the command `understudy fake-api`. Main thread.

    Args:
        host: address of the TCP port.
        port: TCP port, 0 picks one, None opens none.
        unix: path of a Unix socket, None opens none.
        scenarios: a JSON file of scripts.
        require_key: answer 401 to every other key.
        log: a file that gets a JSON line per request.
        announce: told where it listens, once for each place.

    Raises:
        FakeApiError: a file or address cannot be used.
        TransportError: no socket can be made at the Unix path.
        KeyboardInterrupt: it was interrupted; everything is closed.
    """
    table = Scenarios.read(scenarios) if scenarios else None

    async def serve() -> None:
        api = FakeApi(table, require_key=require_key, log=log)
        try:
            if port is not None:
                announce(await api.start_tcp(host, port))
            if unix is not None:
                announce(await api.start_unix(str(unix)))
            await asyncio.Event().wait()
        finally:
            await api.close()

    asyncio.run(serve())


def _read(raw: bytes) -> Conversation | None:
    try:
        body: object = json.loads(raw or b"{}")
    except ValueError:
        return None
    return Conversation(cast("object", body)) if isinstance(body, dict) else None


def _key(request: web.Request) -> str:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    return request.headers.get("x-api-key") or bearer


def _entry(request: web.Request, raw: bytes) -> dict[str, Any]:
    headers = request.headers
    auth = "bearer" if "authorization" in headers else "none"
    return {
        "ev": "request",
        "method": request.method,
        "path": request.path_qs,
        "key": _key(request),
        "auth": "x-api-key" if "x-api-key" in headers else auth,
        "bytes": len(raw),
        "user_agent": headers.get("user-agent"),
    }
