"""The processes of actors: each is the one child of a supervisor of its own.

So an actor that keeps falling uses up its own restarts and nobody else's, and one that is slow to
stop holds up no start.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pykka

from .backoff import Backoff
from .forkserver import ForkServer
from .spec import ChildSpec, SupervisorSpec
from .supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .events import ChildEvent

SUPERVISOR_OF = "supervisor of "
"""What goes before an actor's name in the id of its supervisor; no name has a blank."""

_HOST = "understudy.supervision.actor_host"


class ActorProcesses:
    """Starts and stops processes; what happens to them is told to the listener.

    Args:
        preload: modules that actors need.
        listener: told of each child's events in its supervisor's thread; must not block.
    """

    def __init__(self, preload: Sequence[str], listener: Callable[[ChildEvent], None]) -> None:
        self._forks = ForkServer(preload=[_HOST, *preload])
        self._listener = listener
        self._supervisors: dict[str, pykka.ActorRef[Supervisor]] = {}

    def open(self) -> None:
        """Start the fork server, which imports what actors need meanwhile."""
        self._forks.start()

    def start(self, name: str, args: dict[str, Any], options: dict[str, Any]) -> None:
        """Start the process of that actor; `options` are those of `SystemMember.spawn`.

        Raises:
            InvalidSpec: an option makes no sense.
        """
        backoff = options["backoff"]
        child = ChildSpec(
            name,
            f"{_HOST}:main",
            args,
            restart=options["restart"],
            shutdown_s=options["shutdown_s"],
            start_timeout_s=options["start_timeout_s"],
            liveness_interval_s=options["liveness_interval_s"],
            backoff=None if backoff is None else Backoff(**backoff),
        )
        spec = SupervisorSpec(SUPERVISOR_OF + name, children=(child,))
        supervisor = self._supervisors[name] = Supervisor.start(spec, self._forks, self._listener)
        # The registry is the users': who broadcasts or stops all there means their actors.
        pykka.ActorRegistry.unregister(supervisor)

    def has(self, name: str) -> bool:
        """Whether its process was started and is not forgotten."""
        return name in self._supervisors

    def stop(self, name: str) -> None:
        """Have it stopped, for good; its events tell when it is gone."""
        supervisor = self._supervisors.get(name)
        if supervisor is not None:
            with contextlib.suppress(pykka.ActorDeadError):
                supervisor.stop(block=False)

    def forget(self, name: str) -> None:
        """It is gone, and its supervisor has nothing left to do."""
        self.stop(name)
        self._supervisors.pop(name, None)

    def close(self) -> None:
        """End all that is left."""
        for name in list(self._supervisors):
            self.stop(name)
        self._forks.close()
