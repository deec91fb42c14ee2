"""The scripted model beside a test: its own thread, its own loop, one context manager."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

from understudy.fakeapi.errors import FakeApiError
from understudy.fakeapi.script import Scenarios
from understudy.fakeapi.server import FakeApi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from understudy.fakeapi.conversation import Conversation
    from understudy.fakeapi.script import Choice

_START_S = 10.0


class FakeApiThread:
    """A scripted model that serves while the block runs.

    ```
    with FakeApiThread({"greet": [{"text": "hello"}]}) as api:
        env = {"ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "any"}
        ...
        assert api.requests[-1]["key"] == "any"
    ```

    Args:
        scenarios: scripts by name, and rules; see docs/fake-api.md.
        model: asked before any script, in the server's thread; None from it leaves the answer to
            them.
        unix: listen on this Unix socket instead of a TCP port.
        require_key: answer 401 to every other key.
        bodies: keep headers and bodies of the requests too.

    Attributes:
        url: `http://127.0.0.1:PORT`, or `unix:PATH`.
    """

    def __init__(
        self,
        scenarios: dict[str, Any] | None = None,
        *,
        model: Callable[[Conversation], Choice | None] = lambda _: None,
        unix: Path | None = None,
        require_key: str | None = None,
        bodies: bool = False,
    ) -> None:
        self.url = ""
        self._unix = unix
        self._api = FakeApi(
            Scenarios(scenarios), model=model, require_key=require_key, bodies=bodies
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="understudy-fake-api", daemon=True)

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What was asked so far, newest last."""
        return self._api.requests

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(_START_S):
            raise FakeApiError("the scripted model", "did not start in time", "try again")
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *exc: object) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_S)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            if self._unix is not None:
                self.url = await self._api.start_unix(str(self._unix))
            else:
                self.url = await self._api.start_tcp()
            self._started.set()
            await self._stop.wait()
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits for the start
            self._error = error
            self._started.set()
        finally:
            await self._api.close()
