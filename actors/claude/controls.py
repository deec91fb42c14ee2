"""What a CLI can be asked to do beside its turns, at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .errors import ControlRefused

if TYPE_CHECKING:
    from .talk import Talk

# 2.1.197 takes any word for a mode and answers that it is set.
PERMISSION_MODES = ("acceptEdits", "bypassPermissions", "default", "dontAsk", "plan")


class Controls:
    """The control requests of one talk."""

    _talk: Talk

    def interrupt(self, timeout_s: float = 10.0) -> None:
        """Ask the CLI to end its turn now; `run_turn` then returns its result. Any thread.

        Harmless when no turn runs.

        Raises:
            ClaudeDied, ClaudeUnresponsive, ControlRefused: it could not be asked.
        """
        self._talk.call("interrupt", timeout_s)

    def set_model(self, model: str, timeout_s: float = 10.0) -> None:
        """Have the next request ask another model. Any thread.

        Raises:
            ClaudeDied, ClaudeUnresponsive, ControlRefused: it is not set.
        """
        self._talk.call("set_model", timeout_s, model=model)

    def set_permission_mode(self, mode: str, timeout_s: float = 10.0) -> None:
        """Change what is allowed without asking, to one of `PERMISSION_MODES`. Any thread.

        Raises:
            ClaudeDied, ClaudeUnresponsive, ControlRefused: it is not set. `bypassPermissions` is
                refused to a CLI that was not started with it.
        """
        if mode not in PERMISSION_MODES:
            raise ControlRefused("set_permission_mode", f"{mode!r} is none of {PERMISSION_MODES}")
        self._talk.call("set_permission_mode", timeout_s, mode=mode)

    def mcp_status(self, timeout_s: float = 10.0) -> dict[str, str]:
        """The state of each server of tools, by name; `connected` is the good one. Any thread.

        Raises:
            ClaudeDied, ClaudeUnresponsive, ControlRefused: it could not be asked.
        """
        servers = self._talk.call("mcp_status", timeout_s).get("mcpServers")
        listed = cast("list[dict[str, Any]]", servers) if isinstance(servers, list) else []
        return {str(server.get("name")): str(server.get("status")) for server in listed}
