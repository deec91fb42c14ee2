"""Actors in this process and in others: `python examples/actors.py`."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from understudy import Actor, ActorDeadError, ActorSystem, Down


class Counter(Actor):
    """Counts; in which process does not matter to who uses it."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.n = start

    def add(self, k: int) -> int:
        """Add, and say how much it is."""
        self.n += k
        return self.n

    def pid(self) -> int:
        """In which process this is."""
        return os.getpid()


class Guard(Actor):
    """Remembers how those ended that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def look_after(self, name: str) -> None:
        """Watch the actor of that name."""
        self.watch(self.system.find(name))

    def on_receive(self, message: Any) -> None:  # noqa: ANN401 - messages are anything
        """Take what the watches bring."""
        if isinstance(message, Down):
            self.ends.append(f"incarnation {message.incarnation}: {message.exit.detail}")


def main() -> None:
    """Count here and there, then lose a process."""
    with ActorSystem("example") as system:
        here = system.spawn(Counter, 1)
        there = system.spawn(Counter, 10, process=True, name="there", restart="permanent")
        guard = system.spawn(Guard, process=True)
        guard.proxy().look_after("there").get(timeout=5)

        print("here", here.proxy().add(1).get(timeout=5))
        print("there", there.proxy().add(1).get(timeout=5))

        os.kill(there.proxy().pid().get(timeout=5), signal.SIGKILL)
        while True:
            try:
                print("there again", there.proxy().add(1).get(timeout=5))
                break
            except ActorDeadError as error:
                print("lost:", type(error).__name__)

        # The guard may hear of it later than we do.
        limit = time.monotonic() + 20
        while not (ends := guard.proxy().ends.get(timeout=5)) and time.monotonic() < limit:
            time.sleep(0.01)
        print(ends)


if __name__ == "__main__":
    main()
