"""A watchman for one run: when the run's owner is gone, however it went, its containers go too.

End of file on stdin ends an idle CLI in 0.1 s, but not one in the middle of a tool call.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .guard_process import ORDERLY
from .names import RUN_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)
_PROGRAM = Path(__file__).with_name("guard_process.py")
_CLOSE_TIMEOUT_S = 60.0


class Guard:
    """A small process in a session of its own, blocked on a pipe that this process holds.

    `start` and `close` are called by one thread. The pipe's end is not inherited by other children.

    Args:
        run_id: containers with this run label are removed.
        env: environment of its podman commands (see `podman_env`).
    """

    def __init__(self, run_id: str, env: Mapping[str, str]) -> None:
        self._run_id = run_id
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    @property
    def pid(self) -> int | None:
        """The guard's process, or None when it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it; containers that are made from now on are guarded.

        Raises:
            OSError: the machine has no room for one more process.
        """
        if self._process is not None:
            return
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), f"label={RUN_LABEL}={self._run_id}"],
                env=self._env,
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(read_end)
            if self._process is None:
                os.close(self._pipe)

    def close(self) -> None:
        """End it in order: it removes what is left of the run, which should be nothing, and exits.

        Safe to call twice; blocks at most 60 s, then the guard is killed.
        """
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(BrokenPipeError):  # it was killed: nothing to tell it
            os.write(self._pipe, ORDERLY)
        os.close(self._pipe)
        try:
            process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _log.warning("the guard of run %s does not end; it is killed", self._run_id)
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
