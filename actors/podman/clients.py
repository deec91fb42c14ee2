"""Podman clients that a dead owner left: each lives on, and may still make its container.

`podman rm` of what a killed client has half made forgets the container and leaves it running: of
17 clients killed by SIGKILL within 0.1 s of their start, podman 4.3.1 lost 9 containers so; of 15
ended by SIGTERM none. So they are waited for, asked, and killed last.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

from .guard_process import held_clients
from .names import OWNER_PID_LABEL, owner_lives

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LIMIT_S = 10.0
_GRACE_S = 5.0

Argv = list[bytes]


def await_clients(
    is_left: Callable[[Argv], bool], *, limit_s: float = _LIMIT_S, grace_s: float = _GRACE_S
) -> int:
    """Have no client run whose command line is such a one; how many there were.

    They may take `limit_s` to end by themselves and `grace_s` after SIGTERM. What they have made
    is there then, for podman to remove.
    """
    clients = held_clients(is_left)
    left = clients
    try:
        for signals, wait_s in (
            ((), limit_s),
            # One that was stopped takes the first signal once it goes on.
            ((signal.SIGTERM, signal.SIGCONT), grace_s),
            ((signal.SIGKILL,), grace_s),
        ):
            for pidfd in left:
                for number in signals:
                    _send(pidfd, number)
            left = _still_running(left, wait_s)
    finally:
        for pidfd in clients:
            os.close(pidfd)
    return len(clients)


def made_name(argv: Argv) -> str:
    """The name of the container that a client makes, or nothing."""
    start = b"--name="
    names = (word.removeprefix(start) for word in argv if word.startswith(start))
    return next(names, b"").decode(errors="replace")


def serves_dead_owner(argv: Argv) -> bool:
    """Whether the client's labels name an owner, and that one is gone."""
    labels = labels_of(argv)
    return OWNER_PID_LABEL in labels and not owner_lives(labels)


def labels_of(argv: Argv) -> dict[str, str]:
    """The labels that a client gives its container."""
    given = (word.decode(errors="replace") for word in argv if word.startswith(b"--label="))
    pairs = (text.removeprefix("--label=").partition("=") for text in given)
    return {name: value for name, _, value in pairs if name}


def _send(pidfd: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def _still_running(pidfds: Sequence[int], wait_s: float) -> list[int]:
    poll, left = select.poll(), set(pidfds)
    for pidfd in left:
        poll.register(pidfd, select.POLLIN)
    ends = time.monotonic() + wait_s
    while left and (rest_s := ends - time.monotonic()) > 0:
        for pidfd, _ in poll.poll(rest_s * 1000):
            poll.unregister(pidfd)
            left.discard(pidfd)
    return list(left)
