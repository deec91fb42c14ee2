"""How soon actors in other processes are told: of a death by `Down`, of a ring by `DeadlockError`.

Every actor has a process of its own. The clock is the kernel's monotonic one, the same in all.
"""

from __future__ import annotations

import os
import queue
import signal
import time
from typing import TYPE_CHECKING, Any

from understudy.supervision.actor import Actor
from understudy.supervision.system import ActorSystem
from understudy.supervision.watch import Down
from understudy.transport.errors import DeadlockError

if TYPE_CHECKING:
    import pykka

_LIMIT_S = 30.0
# So far ahead all asks of a ring are arranged: each is on its way to no one who is free.
_AHEAD_S = 0.03
RING_SIZES = tuple(range(2, 9))


class Asker(Actor):
    """One of a ring."""

    def on_receive(self, message: Any) -> Any:  # noqa: ANN401 - any message
        """Answer."""
        return message

    def ask_at(self, other: pykka.ActorRef[Any], at_s: float) -> tuple[float, float | None]:
        """Ask at that moment, in no chain; when it asked, and when it was told of a ring."""
        time.sleep(max(0.0, at_s - time.monotonic()))
        asked_s = time.monotonic()
        try:
            other.ask("hello", block=False, timeout=_LIMIT_S).get(timeout=_LIMIT_S)
        except DeadlockError:
            return asked_s, time.monotonic()
        return asked_s, None


class Watcher(Actor):
    """Notes when a `Down` comes."""

    def __init__(self) -> None:
        super().__init__()
        self._came: queue.SimpleQueue[float] = queue.SimpleQueue()

    def on_receive(self, message: Any) -> None:  # noqa: ANN401 - any message
        """Note the moment of a `Down`."""
        if isinstance(message, Down):
            self._came.put(time.monotonic())

    def see(self, other: pykka.ActorRef[Any]) -> None:
        """Watch that actor."""
        self.watch(other)

    def came(self) -> list[float]:
        """When those came that were not told yet."""
        return [self._came.get() for _ in range(self._came.qsize())]


class Mortal(Actor):
    """One to be killed."""

    def pid(self) -> int:
        """Of its process."""
        return os.getpid()


def measure_rings(system: ActorSystem, rounds: int) -> dict[str, list[float]]:
    """Milliseconds from the last ask of a ring to the `DeadlockError` of one, by size."""
    found: dict[str, list[float]] = {}
    for size in RING_SIZES:
        ring = [system.spawn(Asker, process=True) for _ in range(size)]
        found[f"ring_{size}_ms"] = [_ring_ms(ring) for _ in range(rounds)]
        system.stop_all()
    return found


def _ring_ms(ring: list[pykka.ActorRef[Any]]) -> float:
    """Of one ring; where a process was so late that there was none, of the next."""
    while (took_ms := _try_ring(ring)) is None:
        pass
    return took_ms


def _try_ring(ring: list[pykka.ActorRef[Any]]) -> float | None:
    at_s = time.monotonic() + _AHEAD_S
    after = [*ring[1:], ring[0]]
    futures = [one.proxy().ask_at(other, at_s) for one, other in zip(ring, after, strict=True)]
    ends = [future.get(timeout=_LIMIT_S) for future in futures]
    told = [told_s for _, told_s in ends if told_s is not None]
    return float(told[0] - max(asked_s for asked_s, _ in ends)) * 1e3 if told else None


def measure_downs(system: ActorSystem, kills: int) -> list[float]:
    """Milliseconds from each SIGKILL to the `Down` in the process of one who watches."""
    watcher = system.spawn(Watcher, process=True)
    found = [_down_ms(system, watcher) for _ in range(kills)]
    system.stop_all()
    return found


def _down_ms(system: ActorSystem, watcher: pykka.ActorRef[Any]) -> float:
    mortal = system.spawn(Mortal, process=True)
    watcher.proxy().see(mortal).get(timeout=_LIMIT_S)
    pid = mortal.proxy().pid().get(timeout=_LIMIT_S)
    killed_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while not (came := watcher.proxy().came().get(timeout=_LIMIT_S)):
        if time.monotonic() - killed_s > _LIMIT_S:
            raise TimeoutError(f"no Down in {_LIMIT_S:g} s")
        time.sleep(0.002)
    return float(came[0] - killed_s) * 1e3


def measure(kills: int, rounds: int) -> dict[str, list[float]]:
    """All of it, in milliseconds."""
    with ActorSystem("bench", preload=["bench.actor_ends"]) as system:
        downs = measure_downs(system, kills)
        return {"watcher_ms": downs, **measure_rings(system, rounds)}
