"""Children for the tests of supervision."""

# ruff: noqa: ANN401 - a child's fields are passed on as they are

from __future__ import annotations

import queue
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.supervision import ChildSpec, ExitReason, ForkServer, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def targets_on_path() -> Iterator[None]:
    """Children find `supervised_targets`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
        yield


@pytest.fixture(scope="module")
def forks(targets_on_path: None) -> Iterator[ForkServer]:  # noqa: ARG001
    """A fork server, one for all tests of a file."""
    with ForkServer(preload=["supervised_targets"]) as server:
        yield server


class Child(Process):
    """A process whose readiness can be waited for."""

    def __init__(self, forks: ForkServer, target: str, **fields: Any) -> None:
        name = fields.pop("id", "kid")
        self.readiness: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        super().__init__(
            ChildSpec(name, f"supervised_targets:{target}", **fields),
            fields.pop("incarnation", 1),
            forks,
            on_ready=self.readiness.put,
            on_exit=lambda _: None,
        )

    def ready(self) -> dict[str, Any]:
        """What it said when it was ready."""
        return self.readiness.get(timeout=LIMIT_S)

    def end(self) -> ExitReason:
        """Why it ended."""
        reason = self.join(LIMIT_S)
        assert reason is not None, f"{self.id} did not end"
        return reason


@pytest.fixture
def run(forks: ForkServer) -> Iterator[Callable[..., Child]]:
    """Start a child of `supervised_targets`; what is left at the end is killed.

    One that runs `on` another fork server must be gone before that is closed.
    """
    children: list[Child] = []

    def start(target: str, *, on: ForkServer = forks, **fields: Any) -> Child:
        child = Child(on, target, **fields)
        child.start()
        children.append(child)
        return child

    yield start
    for child in children:
        child.stop(0)
        child.end()


def gone_within(pidfd: int, timeout_s: float) -> bool:
    """Whether the process of a pidfd ends within the time."""
    return bool(select.select([pidfd], [], [], timeout_s)[0])
