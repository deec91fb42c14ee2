"""Who waits for whom: the actor that runs in a thread, its call chain, and an observer of waits."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .address import Address
    from .future import AskFuture
    from .inbox import ActorInbox

THRESHOLD_S = 0.005
"""A wait that is shorter is not told: a quick request costs nothing."""


class WaitObserver(Protocol):
    """Is told of actors that wait for an answer, in the thread of the one that waits."""

    def enter(self, waiter_urn: str, target: Address, corr: int) -> None:
        """The actor waits for the answer `corr` of another."""
        ...

    def leave(self, corr: int) -> None:
        """It waits no more."""
        ...


class _Current(threading.local):
    inbox: ActorInbox | None = None


_current = _Current()
_observer: WaitObserver | None = None
serial = itertools.count(1)
"""The numbers of requests: each is unique in this process."""
_watched: dict[int, AskFuture] = {}


def next_corr() -> int:
    """A number for a request, unique in this process."""
    return next(serial)


def set_wait_observer(observer: WaitObserver | None) -> None:
    """Tell this observer of waits from now on; None tells nobody."""
    global _observer  # noqa: PLW0603 - one for the process, as the actors' threads are
    _observer = observer


def is_observed() -> bool:
    """Whether a wait of this thread is to be told."""
    return _observer is not None and _current.inbox is not None


def wait_observer() -> WaitObserver | None:
    """Who is told."""
    return _observer


def enter_actor(inbox: ActorInbox) -> None:
    """This thread is that of the actor whose inbox it is."""
    _current.inbox = inbox


def current_actor() -> ActorInbox | None:
    """The inbox of the actor whose thread this is."""
    return _current.inbox


def current_chain() -> tuple[str, ...]:
    """Who waits for what this thread does: the first asker first, this actor last."""
    inbox = _current.inbox
    return () if inbox is None else inbox.call_chain()


def watch(future: AskFuture) -> None:
    """Let `fail` find a future whose wait is told to the observer."""
    _watched[future.corr] = future


def unwatch(future: AskFuture) -> None:
    """The wait is over."""
    _watched.pop(future.corr, None)


def fail(corr: int, error: Exception) -> bool:
    """End a wait that the observer was told of; False when it was over already. Any thread."""
    future = _watched.get(corr)
    return future is not None and future.fail(error)


def is_answered(corr: int) -> bool:
    """Whether a wait that the observer was told of has its answer, and is just about to end."""
    future = _watched.get(corr)
    return future is not None and future.done
