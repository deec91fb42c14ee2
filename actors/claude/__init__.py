"""The Claude Code CLI: how it is started, spoken with, and left clean for the next task."""

from __future__ import annotations

from .client import ClaudeClient
from .errors import (
    ClaudeDied,
    ClaudeError,
    ClaudeUnresponsive,
    ClearFailed,
    ControlRefused,
    TurnCancelled,
    TurnEnded,
    TurnInProgress,
    TurnStalled,
    TurnTimeout,
)

__all__ = [
    "ClaudeClient",
    "ClaudeDied",
    "ClaudeError",
    "ClaudeUnresponsive",
    "ClearFailed",
    "ControlRefused",
    "TurnCancelled",
    "TurnEnded",
    "TurnInProgress",
    "TurnStalled",
    "TurnTimeout",
]
