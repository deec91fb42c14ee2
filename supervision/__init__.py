"""Keeps children alive: specs and restart rules, processes, liveness, orderly ends."""

from __future__ import annotations

from .backoff import Backoff
from .budget import Budget
from .context import ChildContext
from .control import EXIT_PERMANENT
from .errors import (
    DuplicateChild,
    ForkServerBroken,
    ForkServerClosed,
    InvalidSpec,
    SpawnFailed,
    SupervisionError,
    SupervisorStopping,
    UnknownChild,
)
from .events import ChildEvent, ChildState, ChildStatus, ExitReason, SupervisorStatus
from .forkserver import ForkServer
from .process import Process
from .signals import Op, Result
from .spec import AutoShutdown, ChildSpec, Restart, Strategy, SupervisorSpec
from .supervisor import Supervisor

__all__ = [
    "EXIT_PERMANENT",
    "AutoShutdown",
    "Backoff",
    "Budget",
    "ChildContext",
    "ChildEvent",
    "ChildSpec",
    "ChildState",
    "ChildStatus",
    "DuplicateChild",
    "ExitReason",
    "ForkServer",
    "ForkServerBroken",
    "ForkServerClosed",
    "InvalidSpec",
    "Op",
    "Process",
    "Restart",
    "Result",
    "SpawnFailed",
    "Strategy",
    "SupervisionError",
    "Supervisor",
    "SupervisorSpec",
    "SupervisorStatus",
    "SupervisorStopping",
    "UnknownChild",
]
