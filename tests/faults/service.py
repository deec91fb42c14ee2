"""The service under test and its home: started, asked, waited for, looked after."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.actors.tasks.task import Task
from understudy.control import ServiceClient, ServiceError
from understudy.transport.errors import TransportError

from . import victims
from .plan import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DRIVER = Path(__file__).with_name("driver.py")
START_S = 60.0
_POLL_S = 0.02
# So that deaths end nothing for good: it is the deaths that are wanted here.
SETTINGS = {
    "supervision.intensity": "1000",
    "supervision.max_attempts": "100",
    "supervision.backoff_min": "0.05",
    "supervision.backoff_max": "0.2",
    "supervision.shutdown_timeout": "0.3",
    "agent.startup_timeout": "30",
}


class Service:
    """One home, and the services that live in it one after the other.

    Args:
        home: a folder of its own; what is started for it carries its path.
        run_dir: for sockets, with a short path.
        settings: beside `SETTINGS`.
        env: what the service's environment is made of.
        options: of `understudy serve`.
    """

    def __init__(
        self,
        home: Path,
        run_dir: Path,
        settings: Mapping[str, str],
        env: Mapping[str, str],
        *,
        options: Sequence[str] = ("--fake",),
    ) -> None:
        self.home = home
        self._older = victims.all_processes()
        self.socket = str(run_dir / "control.sock")
        self.env = {
            **{name: value for name, value in env.items() if not name.startswith("UNDERSTUDY_")},
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_RUNTIME_DIR": str(run_dir),
            "XDG_CACHE_HOME": env.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser()),
            "UNDERSTUDY_COMMUNICATION__SOCKET_PATH": self.socket,
        }
        self._settings = {**SETTINGS, **settings}
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.acknowledged: list[str] = []
        self.lives = 0

    @property
    def database(self) -> Path:
        """The store."""
        return self.home / "state" / "understudy" / "tasks.db"

    @property
    def is_alive(self) -> bool:
        """Whether the service's process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> Path:
        """What the present service says."""
        return self.home / f"serve-{self.lives}.log"

    def start(self, plan: Path | None, *, agents: int = 1) -> bool:
        """Start the next service; whether it became ready, and did not die before."""
        self.lives += 1
        settings = [word for item in self._settings.items() for word in ("--set", "=".join(item))]
        command = [str(DRIVER), "serve", *self._options, "--agents", str(agents), *settings]
        env = {**self.env, **({VARIABLE: str(plan)} if plan else {})}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: not self.is_alive or self.is_ready(), START_S, "the service is ready")
        return self.is_alive

    def is_ready(self) -> bool:
        """Whether it has said so."""
        return b"\nready:" in b"\n" + self.log.read_bytes()

    def submit(self, description: str, **fields: Any) -> str | None:  # noqa: ANN401 - a task's own
        """Submit a task; its id when it was acknowledged, None when nobody answered."""
        task = Task(description=description, timeout=60, **fields)
        try:
            with ServiceClient(self.socket) as client:
                answer = client.call("submit", timeout_s=10.0, tasks=[task.to_wire()])
        except (TransportError, ServiceError):
            return None
        self.acknowledged += answer["task_ids"]
        return str(answer["task_ids"][0])

    def unfinished(self) -> int:
        """How many tasks the store has without a result; 0 as well when there is no store."""
        sql = "SELECT count(*) FROM tasks WHERE task_id NOT IN (SELECT task_id FROM results)"
        with contextlib.suppress(sqlite3.OperationalError):  # before its tables are made
            uri = f"file:{self.database}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
                return int(connection.execute(sql).fetchone()[0])
        return 0

    def end(self, number: signal.Signals = signal.SIGTERM, limit_s: float = 60.0) -> int:
        """Signal the service and wait for its end; its exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(limit_s)

    def left(self) -> list[int]:
        """Processes of this home without the service's own."""
        own = self.process.pid if self.is_alive and self.process else 0
        return [pid for pid in self.processes() if pid != own]

    def processes(self) -> list[int]:
        """All processes of this home."""
        return victims.processes_of(self.home, self._older)

    def runs(self) -> set[str]:
        """The ids of the runs that this home knows of."""
        folder = self.home / "state" / "understudy" / "runs"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def containers(self, runs: set[str]) -> list[str]:
        """The containers of these runs."""
        return victims.containers_of(runs, self.env)

    def kill_all(self) -> None:
        """End what is left of this home, also of a failed trial."""
        for pid in [*([self.process.pid] if self.is_alive and self.process else []), *self.left()]:
            victims.kill(pid)
        if self.process is not None:
            self.process.wait(10.0)
        if names := self.containers(self.runs()):
            subprocess.run(
                ["podman", "rm", "-f", "-i", "-t", "0", *names],
                env=self.env, capture_output=True, timeout=60, check=False,
            )  # fmt: skip


class NotInTime(AssertionError):
    """Something that had to come did not come."""


def wait_for(condition: Callable[[], object], limit_s: float, what: str) -> float:
    """Wait until the condition holds; how many seconds that took.

    Raises:
        NotInTime: it did not within the limit.
    """
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > limit_s:
            raise NotInTime(f"{what}: not within {limit_s:g} s")
        time.sleep(_POLL_S)
    return time.monotonic() - started


def load_factor() -> float:
    """By how much limits that are told in seconds are stretched on a machine with more to do."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
