from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman


class Terminal:
    """The REPL on a terminal of its own."""

    def __init__(self, program: Program, *options: str) -> None:
        ours, theirs = os.openpty()
        self._fd = ours
        self.process = subprocess.Popen(
            [sys.executable, "-m", "understudy", "repl", "--fake", "--agents", "1", *options],
            cwd=program.cwd,
            env={**program.env, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""
        self._seen = 0

    def type(self, line: str) -> None:
        os.write(self._fd, f"{line}\r".encode())

    def expect(self, text: str, timeout_s: float = 30.0) -> None:
        ends = time.monotonic() + timeout_s
        while text not in self.shown[self._seen :]:
            readable, _, _ = select.select([self._fd], [], [], max(0.0, ends - time.monotonic()))
            if not readable:
                pytest.fail(f"{text!r} was not shown: {self.shown[-2000:]}")
            self.shown += os.read(self._fd, 65536).decode(errors="replace")
        self._seen = self.shown.index(text, self._seen) + len(text)

    def close(self) -> None:
        os.close(self._fd)
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)


def test_status_a_task_its_result_and_quit(program: Program) -> None:
    terminal = Terminal(program)
    try:
        terminal.expect("Commands: status, task TYPE DESCRIPTION")
        terminal.type("status")
        terminal.expect('"running": true')
        terminal.type("task code_review Look at @shop/cart.py")
        terminal.expect("run as code")
        terminal.expect(": success")
        terminal.type("task nonsense x")
        terminal.expect("code_review")
        terminal.type("tree")
        terminal.expect("0 of 3 restarts within 5 s")
        terminal.type("suspend agent_000 now")
        terminal.expect("agent_000 is suspended")
        terminal.type("resume agent_000")
        terminal.expect("takes tasks again")
        terminal.type("restart agent_00")
        terminal.expect("did you mean agent_000?")
        terminal.type("restart agent_000")
        terminal.expect("runs again, incarnation 2")
        terminal.type("frobnicate")
        terminal.expect("unknown command")
        terminal.type("quit")
        assert terminal.process.wait(30) == 0
    finally:
        terminal.close()


def test_a_call_that_needs_a_yes_is_asked_at_the_prompt(program: Program) -> None:
    asks = ("--set", "roles.asker.permission=ask", "--set", "roles.asker.tasks=generic")
    terminal = Terminal(program, *asks)
    touch = '{"tool":"Bash","input":{"command":"touch /work/made"}},{"text":"{{tool_result}}"}'
    try:
        terminal.expect("Commands: status, task TYPE DESCRIPTION")
        terminal.type(f"task generic @@ [{touch}] @@")
        terminal.expect("agent_000 asks: Bash")
        terminal.expect("allow it?")
        terminal.type("y")
        terminal.expect("b/made")
        terminal.expect(": success")
        terminal.type(f"task generic @@ [{touch}] @@")
        terminal.expect("allow it?")
        terminal.type("use the other file")
        terminal.expect("use the other file", 5)
        terminal.expect(": success")
        terminal.type("quit")
        assert terminal.process.wait(30) == 0
    finally:
        terminal.close()
