"""A watchman for one run: when the run's owner is gone, however it went, what it left goes too.

End of file on stdin ends an idle CLI in 0.1 s, but not one in the middle of a tool call; and a
child that was stopped sees no end of its lifeline.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from understudy.supervision import Backoff

from .guard_process import ORDERLY
from .names import RUN_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)
_PROGRAM = Path(__file__).with_name("guard_process.py")
_CLOSE_TIMEOUT_S = 60.0
_KILL_TIMEOUT_S = 5.0
_BACKOFF = Backoff(min_s=0.1, max_s=30.0)


class Guard:
    """A small process in a session of its own, blocked on a pipe that this process holds.

    When it is killed, the next one takes its place. The pipe's end is not inherited by other
    children. `start` and `close` are called by one thread.

    Args:
        run_id: containers with this run label are removed.
        env: environment of its podman commands (see `podman_env`).
        mark: processes with this entry in their environment are ended (see `ForkServer.mark`).
        on_replaced: told in words, in the guard's thread, each time another one was started.
        backoff: how long the place stays empty.
    """

    def __init__(
        self,
        run_id: str,
        env: Mapping[str, str],
        *,
        mark: str = "",
        on_replaced: Callable[[str], None] | None = None,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self._run_id = run_id
        self._env = dict(env)
        self._mark = mark
        self._on_replaced = on_replaced
        self._backoff = backoff
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._watcher: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The guard's process, or None when it does not run."""
        process = self._process
        return process.pid if process else None

    def start(self) -> None:
        """Start it; containers that are made from now on are guarded.

        Raises:
            OSError: the machine has no room for one more process.
        """
        if self._watcher is not None:
            return
        self._closing.clear()
        process = self._begin()
        self._watcher = threading.Thread(
            target=self._watch, args=(process,), name="understudy-guard", daemon=True
        )
        self._watcher.start()

    def close(self) -> None:
        """End it in order: it removes what is left of the run, which should be nothing, and exits.

        Safe to call twice; blocks at most 60 s, then the guard is killed.
        """
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        with self._lock:
            self._closing.set()
            process = self._process
            if process is not None:
                with contextlib.suppress(BrokenPipeError):  # it was killed: nothing to tell it
                    os.write(self._pipe, ORDERLY)
                os.close(self._pipe)
        watcher.join(_CLOSE_TIMEOUT_S)
        if watcher.is_alive() and process is not None:
            _log.warning("the guard of run %s does not end; it is killed", self._run_id)
            process.kill()
            watcher.join(_KILL_TIMEOUT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _begin(self) -> subprocess.Popen[bytes]:
        read_end, write_end = os.pipe()
        label = f"label={RUN_LABEL}={self._run_id}"
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), label, self._mark],
                env=self._env,
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        self._process, self._pipe = process, write_end
        return process

    # -- the guard's own thread ---------------------------------------------------------------

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        rng, failures, began = random.Random(), 0, time.monotonic()  # noqa: S311 - no secret
        while True:
            code = process.wait()
            with self._lock:
                self._process = None
                if self._closing.is_set():
                    return
                os.close(self._pipe)
            _log.warning("the guard of run %s has ended (%d)", self._run_id, code)
            if time.monotonic() - began > self._backoff.calm_s:
                failures = 0
            successor = self._replace(failures, rng)
            if successor is None:
                return
            process, failures, began = successor, failures + 1, time.monotonic()
            if self._on_replaced is not None:
                self._on_replaced(f"process {process.pid}, after one that ended with {code}")

    def _replace(self, failures: int, rng: random.Random) -> subprocess.Popen[bytes] | None:
        """The next guard after its backoff; None when none is wanted any more."""
        while not self._closing.wait(self._backoff.delay_s(failures, rng)):
            with self._lock:
                if self._closing.is_set():
                    return None
                try:
                    return self._begin()
                except OSError as error:
                    _log.warning("no guard for run %s: %s; trying again", self._run_id, error)
            failures += 1
        return None
