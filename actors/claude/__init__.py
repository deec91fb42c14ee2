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
    TurnLost,
    TurnStalled,
    TurnTimeout,
)
from .mcp import Cancellation, McpServer, Tool, ToolError
from .permissions import PermissionRequest, PermissionState

__all__ = [
    "Cancellation",
    "ClaudeClient",
    "ClaudeDied",
    "ClaudeError",
    "ClaudeUnresponsive",
    "ClearFailed",
    "ControlRefused",
    "McpServer",
    "PermissionRequest",
    "PermissionState",
    "Tool",
    "ToolError",
    "TurnCancelled",
    "TurnEnded",
    "TurnInProgress",
    "TurnLost",
    "TurnStalled",
    "TurnTimeout",
]
