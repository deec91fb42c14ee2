"""Where a credential comes from when it can change, and the one place that renews it."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .credentials import Credentials, InvalidCredentials, find_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_COMMAND_S = 30.0
# Whoever is rejected again at once learns nothing new.
_PAUSE_S = 5.0
_MAX_FILE_BYTES = 64 << 10
_LOGIN_TOKEN = "sk-ant-oat"  # noqa: S105 - how tokens of a login begin, not one


def read_credentials(file: str | None, command: str | None) -> Credentials | None:
    """What the file or the command gives now; None when neither is named. May take its time.

    Args:
        file: of lines `NAME=VALUE`, as a shell or systemd reads them.
        command: prints the key alone. No shell is used.

    Raises:
        InvalidCredentials: nothing usable came; the message never shows a value.
    """
    if command is not None:
        return _from_command(command)
    return _from_file(file) if file is not None else None


def _from_file(name: str) -> Credentials:
    path = Path(name).expanduser()
    try:
        with path.open("rb") as opened:
            text = opened.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise InvalidCredentials(str(path), f"cannot be read: {error.strerror}") from None
    pairs = (line.strip().removeprefix("export ").partition("=") for line in text.splitlines())
    found = find_credentials({key.strip(): value.strip().strip("'\"") for key, _, value in pairs})
    if found is None:
        raise InvalidCredentials(str(path), "sets no ANTHROPIC_API_KEY")
    return found


def _from_command(command: str) -> Credentials:
    shown = "gateway.credential_command"
    try:
        done = subprocess.run(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_S,
            check=False,
        )
    except (OSError, ValueError) as error:
        raise InvalidCredentials(shown, f"cannot be run: {type(error).__name__}") from None
    except subprocess.TimeoutExpired:
        raise InvalidCredentials(shown, f"did not end within {_COMMAND_S:g} s") from None
    if done.returncode != 0:
        raise InvalidCredentials(shown, f"failed with exit code {done.returncode}")
    value = done.stdout.decode("utf-8", "replace").strip()
    return Credentials("oauth" if value.startswith(_LOGIN_TOKEN) else "api_key", value)


class CredentialSource:
    """The credential in use. Used in the gateway's loop.

    Args:
        first: the one to begin with.
        read: gives the newest one, in a thread of its own; None when there is no other source.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        first: Credentials,
        read: Callable[[], Credentials | None],
        clock: Callable[[], float],
    ) -> None:
        self.current = first
        self.problem = ""
        self._read = read
        self._clock = clock
        self._asked_at = float("-inf")
        self._lock = asyncio.Lock()

    @classmethod
    def of_plan(
        cls, first: Credentials, plan: Mapping[str, Any], clock: Callable[[], float]
    ) -> CredentialSource:
        """The source that the gateway's child spec names."""
        file, command = plan.get("file"), plan.get("command")
        return cls(first, lambda: read_credentials(file, command), clock)

    async def renew(self, rejected: Credentials) -> bool:
        """Whether there is another credential than the one that was rejected.

        However many ask at once, the source is read once.
        """
        async with self._lock:
            if self.current != rejected:
                return True
            if self._clock() - self._asked_at < _PAUSE_S:
                return False
            try:
                newest = await asyncio.to_thread(self._read)
                self.problem = ""
            except InvalidCredentials as error:
                newest, self.problem = None, str(error)
            self._asked_at = self._clock()
            if newest is None or newest == rejected:
                return False
            self.current = newest
            return True
