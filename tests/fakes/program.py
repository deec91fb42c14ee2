"""`understudy` as a user runs it: a process of its own, with a home of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "sk-canary-0123456789abcdef"


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        value: dict[str, Any] = json.loads(self.out)
        return value


@dataclass
class Program:
    """`understudy` with a home of its own; as another user when one is named."""

    cwd: Path
    env: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])
    python: str = sys.executable
    user: int | None = None

    def run(self, *args: str, timeout_s: float = 90.0, stdin: str = "") -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            [self.python, "-m", "understudy", *args],
            **self._who(),
            cwd=self.cwd,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        process = subprocess.Popen(
            [self.python, "-m", "understudy", *args],
            **self._who(),
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def _who(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}

    def serve(self, *args: str) -> subprocess.Popen[str]:
        """Start the service and wait until it is ready."""
        process = self.start("serve", *args)
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("ready:"):
                return process
        pytest.fail(f"the service ended: {''.join(lines)}")

    def end(self, process: subprocess.Popen[str], how: int = signal.SIGTERM) -> Done:
        """Signal a started command and wait for its end."""
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)
