"""What is done to a running service: kills, pauses, cut connections, removed sockets."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import signal
import socket
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import victims

if TYPE_CHECKING:
    import random

    from .points import Role
    from .service import Service

# pidfd_getfd(2) has this number on every architecture but alpha; Python 3.11 has no name for it.
_PIDFD_GETFD = 438
_MAX_PAUSE_S = 1.5
# Longer than any liveness interval of the soak: it must be found hung.
_HANGS_S = 30.0
_KILLED: tuple[Role, ...] = ("agent", "gateway", "fork server", "conmon", "cli", "guard")
_GUARD_SHARE = 0.1
_PAUSED: tuple[Role, ...] = ("agent", "gateway", "fork server", "cli", "service")
_CUT: tuple[Role, ...] = ("agent", "gateway")
_ACTIONS = ("kill",) * 7 + ("pause",) * 2 + ("cut",)


@dataclass
class Nemesis:
    """Does one thing at a time, at random, and remembers how often it did what.

    Attributes:
        spared: parts that are not killed.
    """

    service: Service
    chance: random.Random
    spared: frozenset[Role] = frozenset()
    done: collections.Counter[str] = field(default_factory=collections.Counter[str])
    _paused: dict[int, float] = field(default_factory=dict[int, float])

    def strike(self) -> None:
        """Do something bad to a part of the service that is there."""
        parts = self.parts()
        action = self.chance.choice(_ACTIONS)
        if action == "kill":
            self._kill(parts, self.chance.choice(_KILLED))
        elif action == "pause":
            self._pause(parts, self.chance.choice(_PAUSED))
        else:
            self._cut(parts, self.chance.choice(_CUT))

    def parts(self) -> dict[Role | None, list[int]]:
        """The living processes by the part they play."""
        found: dict[Role | None, list[int]] = {}
        for pid in self.service.processes():
            found.setdefault(victims.role_of(pid), []).append(pid)
        return found

    def wake(self, *, everybody: bool = False) -> None:
        """Let those go on whose pause is over."""
        for pid, ends in list(self._paused.items()):
            if everybody or time.monotonic() >= ends:
                del self._paused[pid]
                victims.kill(pid, signal.SIGCONT)

    def remove_a_socket(self) -> None:
        """Unlink one of the sockets that processes are reached by."""
        folder = Path(self.service.socket).parent
        sockets = sorted(path for path in folder.rglob("*.sock") if path.is_socket())
        if sockets:
            path = self.chance.choice(sockets)
            path.unlink(missing_ok=True)
            self.done[f"{path.name} removed"] += 1

    def _kill(self, parts: dict[Role | None, list[int]], role: Role) -> None:
        # Without its guard a service leaves more to the next start: rarer than the rest.
        if role in self.spared or (role == "guard" and self.chance.random() > _GUARD_SHARE):
            role = "gateway"
        if pids := parts.get(role):
            victims.kill(self.chance.choice(pids))
            self.done[f"{role} killed"] += 1

    def _pause(self, parts: dict[Role | None, list[int]], role: Role) -> None:
        if not (pids := parts.get(role)):
            return
        pid = self.chance.choice(pids)
        hangs = role == "agent" and self.chance.random() < 0.2
        pause_s = _HANGS_S if hangs else self.chance.uniform(0.05, _MAX_PAUSE_S)
        if victims.kill(pid, signal.SIGSTOP):
            self._paused[pid] = time.monotonic() + pause_s
            self.done[f"{role} {'hung' if hangs else 'paused'}"] += 1

    def _cut(self, parts: dict[Role | None, list[int]], role: Role) -> None:
        if pids := parts.get(role):
            pid = self.chance.choice(pids)
            numbers = socket_numbers(pid)
            if numbers and shut_down(pid, self.chance.choice(numbers)):
                self.done[f"connection of {role} cut"] += 1


def socket_numbers(pid: int) -> list[int]:
    """The descriptors of that process that are sockets."""
    numbers: list[int] = []
    with contextlib.suppress(OSError):
        for path in sorted(Path(f"/proc/{pid}/fd").iterdir()):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(path.stat().st_mode):
                    numbers.append(int(path.name))
    return numbers


def shut_down(pid: int, number: int) -> bool:
    """Shut a socket of another process down, both ways; whether it was there and connected."""
    try:
        with borrowed(pid, number) as found:
            found.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False
    return True


def borrowed(pid: int, number: int) -> socket.socket:
    """A socket of another process, by a descriptor of our own.

    Raises:
        OSError: the process or its socket is gone.
    """
    pidfd = os.pidfd_open(pid)
    try:
        mine = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, pidfd, number, 0)
    finally:
        os.close(pidfd)
    if mine < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket(fileno=mine)
