"""The CLI's ends of the pipes, moved by a test."""

from __future__ import annotations

import json
import os
import select
from typing import Any

from understudy.actors.claude import ClaudeClient

SOON_S = 10.0


class PlayedCli:
    """A CLI that says what the test has it say, over real pipes."""

    def __init__(self) -> None:
        its_in, self.stdin = os.pipe()
        self.stdout, its_out = os.pipe()
        self.stderr, its_err = os.pipe()
        self.its_in: int | None = its_in
        self.its_out: int | None = its_out
        self.its_err: int | None = its_err
        self._got = b""

    def connect(self, **options: Any) -> ClaudeClient:  # noqa: ANN401 - those of ClaudeClient
        return ClaudeClient(
            os.fdopen(self.stdin, "wb"),
            os.fdopen(self.stdout, "rb"),
            os.fdopen(self.stderr, "rb"),
            **options,
        )

    def hear(self) -> dict[str, Any]:
        """The next line from the client."""
        assert self.its_in is not None
        while b"\n" not in self._got:
            assert select.select([self.its_in], [], [], SOON_S)[0], "the client sent nothing"
            chunk = os.read(self.its_in, 1 << 16)
            assert chunk, "the client closed the input"
            self._got += chunk
        line, _, self._got = self._got.partition(b"\n")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def hears_the_end(self) -> bool:
        """Whether the client closed the input, after it said nothing more."""
        assert self.its_in is not None
        ready = select.select([self.its_in], [], [], SOON_S)[0]
        return bool(ready) and not self._got and not os.read(self.its_in, 1)

    def says_nothing_for(self, seconds: float) -> bool:
        assert self.its_in is not None
        return not self._got and not select.select([self.its_in], [], [], seconds)[0]

    def say(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.say_raw(json.dumps(event).encode() + b"\n")

    def say_raw(self, data: bytes) -> None:
        assert self.its_out is not None
        while data:
            data = data[os.write(self.its_out, data) :]

    def complain(self, text: str) -> None:
        assert self.its_err is not None
        os.write(self.its_err, text.encode())

    def answer(self, request: dict[str, Any], **fields: Any) -> None:  # noqa: ANN401 - JSON
        response = {"subtype": "success", "request_id": request["request_id"], **fields}
        self.say({"type": "control_response", "response": response})

    def request(self, request_id: str, subtype: str, **fields: object) -> None:
        """Ask something of the client."""
        request = {"subtype": subtype, **fields}
        self.say({"type": "control_request", "request_id": request_id, "request": request})

    def end_output(self) -> None:
        assert self.its_out is not None
        os.close(self.its_out)
        self.its_out = None

    def die(self) -> None:
        for name in ("its_in", "its_out", "its_err"):
            fd: int | None = getattr(self, name)
            if fd is not None:
                os.close(fd)
            setattr(self, name, None)
