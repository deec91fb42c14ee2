"""Where a command's tasks run: in the service when one is up, else in a fleet of the command's own.

Both give the same stream of events and results.
"""

from __future__ import annotations

import contextlib
import queue
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from understudy.actors.events import TaskEvent
from understudy.actors.tasks.task import TaskResult

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from understudy.actors.handle import TaskHandle
    from understudy.actors.tasks.task import Task
    from understudy.control import ServiceClient
    from understudy.orchestrator import Orchestrator

Update = TaskEvent | TaskResult | None


class Session(Protocol):
    """Somewhere to run tasks."""

    @property
    def place(self) -> str:
        """Where, in words for a person."""
        ...

    def run(self, tasks: list[Task]) -> Iterator[Update]:
        """Submit all, then each event and result as it comes; None now and then in between."""
        ...


class EmbeddedSession:
    """A fleet of the command's own; it must be started already."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    @property
    def place(self) -> str:
        """Where, in words for a person."""
        count = self._orchestrator.config.settings.orchestrator.num_agents
        return f"{count} agent{'s' if count != 1 else ''} of its own"

    def run(self, tasks: list[Task]) -> Iterator[Update]:
        """Submit all, then each event and result as it comes."""
        updates: queue.SimpleQueue[TaskEvent | TaskResult] = queue.SimpleQueue()
        handles = self._orchestrator.submit_all(tasks)
        for handle in handles:
            _forward(handle, updates)
        left = len(handles)
        while left:
            update: Update = None
            with contextlib.suppress(queue.Empty):
                update = updates.get(timeout=1.0)
            left -= isinstance(update, TaskResult)
            yield update


class ServiceSession:
    """The running service. Leaving early cancels what was submitted and is not done."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    @property
    def place(self) -> str:
        """Where, in words for a person."""
        return "the running service"

    def run(self, tasks: list[Task]) -> Iterator[Update]:
        """Submit all, then each event and result as it comes."""
        left = {task.task_id for task in tasks}
        self._client.call("submit", tasks=[task.to_wire() for task in tasks], watch=True)
        try:
            for update in self._client.updates():
                yield from self._with_missed(update, left)
                if not left:
                    return
        except (GeneratorExit, KeyboardInterrupt):
            for task_id in left:
                self._client.call("cancel", task_id=task_id)
            raise

    def _with_missed(self, update: Update, left: set[str]) -> Iterator[Update]:
        """The update, or in a quiet moment the results that never reached us."""
        found: list[Update] = [update]
        if update is None:
            answer = self._client.call("results", task_ids=sorted(left))
            found = [TaskResult.from_wire(result) for result in answer["results"]] or [None]
        for each in found:
            if isinstance(each, TaskResult):
                if each.task_id not in left:
                    continue
                left.discard(each.task_id)
            yield each


def connect(socket_path: str) -> ServiceClient | None:
    """A connection to the service, or None when none is up."""
    if not Path(socket_path).exists():
        return None
    from understudy.control import ServiceClient  # noqa: PLC0415 - seldom needed, and long to load
    from understudy.transport.errors import TransportError  # noqa: PLC0415 - likewise

    try:
        return ServiceClient(socket_path)
    except TransportError:
        return None


@contextlib.contextmanager
def open_session(
    orchestrator: Orchestrator, *, embedded: bool
) -> Generator[EmbeddedSession | ServiceSession]:
    """The service when one is up and `embedded` is not asked for, else a fleet started for this."""
    path = orchestrator.config.settings.communication.socket_path
    client = None if embedded else connect(path)
    if client is not None:
        with client:
            yield ServiceSession(client)
        return
    with orchestrator:
        yield EmbeddedSession(orchestrator)


def _forward(handle: TaskHandle, updates: queue.SimpleQueue[TaskEvent | TaskResult]) -> None:
    def tell(event: TaskEvent | None) -> None:
        updates.put(event if event is not None else handle.wait(0))

    handle.subscribe(tell)
