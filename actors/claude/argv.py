"""How the CLI is started: its command line and its environment. Pure data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Tools that change something or run something: with one of these a container serves one task only.
ACTING_TOOLS = frozenset({"Bash", "Edit", "Write", "NotebookEdit"})

API_SOCKET = "/run/agent/api.sock"

CLI_ENV: Mapping[str, str] = MappingProxyType(
    {
        # The only way out is the gateway's socket. The base URL must be http: with https, or none,
        # the CLI speaks TLS on the socket. The key is put in by the gateway; without any the CLI
        # does not even ask.
        "ANTHROPIC_UNIX_SOCKET": API_SOCKET,
        "ANTHROPIC_BASE_URL": "http://localhost",
        "ANTHROPIC_API_KEY": "placeholder",
        # Silence: with these no request but the model's was seen.
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        # The default of 10 holds a turn for 3 minutes; the fleet has a longer view.
        "CLAUDE_CODE_MAX_RETRIES": "3",
        # Time to the answer's first header, of each try.
        "API_TIMEOUT_MS": "120000",
        # A stream that stops midway: 2.1.330 cuts it after this, 2.1.197 after 300 s.
        "CLAUDE_ENABLE_BYTE_WATCHDOG": "1",
        "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "60000",
        # Says `running` and `idle`: an idle CLI that gave no result is known as such.
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
        # Our tools end within their own times; this is for when we are stuck ourselves.
        "MCP_TOOL_TIMEOUT": "660000",
        # A command gives no sign of life: it must end before a turn counts as stalled.
        "BASH_DEFAULT_TIMEOUT_MS": "120000",
        "BASH_MAX_TIMEOUT_MS": "240000",
        # A background command outlives its turn, and keeps 2.1.330 from ending at EOF.
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        # Nothing is carried from one conversation to the next.
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        # The transcript is written before the result is told; else 2.1.197 is 70 ms late.
        "CLAUDE_CODE_EAGER_FLUSH": "1",
        # Root needs it for bypassPermissions; the container is the sandbox.
        "IS_SANDBOX": "1",
    }
)


@dataclass(frozen=True)
class CliRole:
    """What a CLI may do and what it hands in. Two tasks may share a CLI only when this is the same.

    Attributes:
        tools: the closed set of built-in tools, in the CLI's names.
        json_schema: the shape of the structured result; None for free text.
        model: the model's name; None is the CLI's default.
        max_turns: model calls in one turn; None is no limit.
        disallowed: permission rules that are denied whatever else is allowed, as "Bash(rm *)".
        permission_mode: None chooses by the tools, see `cli_argv`.
        append_system_prompt: text added to the CLI's own system prompt.
        servers: names of our tool servers, with the tools of each that may be called.
        asks_permission: each call of a tool that acts is asked of us first.
        max_budget_usd: dollars that one process may spend by the CLI's own prices; None is no
            limit. Once spent, every further turn of the process fails.
    """

    tools: tuple[str, ...]
    json_schema: Mapping[str, Any] | None = None
    model: str | None = None
    max_turns: int | None = None
    disallowed: tuple[str, ...] = ()
    permission_mode: str | None = None
    append_system_prompt: str | None = None
    servers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    asks_permission: bool = False
    max_budget_usd: float | None = None

    @property
    def is_reading_only(self) -> bool:
        """Whether none of the tools can change or run anything."""
        return not ACTING_TOOLS.intersection(self.tools)


def cli_argv(
    role: CliRole,
    *,
    session_id: str | None = None,
    resume: bool = False,
    program: str = "claude",
) -> tuple[str, ...]:
    """The command line for a CLI that stays for many turns.

    Each flag is written as `--flag=value`: several take any number of values and would swallow the
    next word. A checked-out repository's own settings, hooks and MCP servers are not read.
    A role that only reads may do exactly what its list says (`dontAsk`); one that acts may do
    anything inside its container (`bypassPermissions`), which is there for that.

    Args:
        role: what the CLI may do.
        session_id: the id of the conversation, a UUID; None lets the CLI choose.
        resume: go on with that conversation instead of beginning it.
        program: the CLI's path in the container.
    """
    tools = ",".join(role.tools)
    ours = [name for _, names in role.servers for name in names]
    asked = ACTING_TOOLS if role.asks_permission else frozenset[str]()
    allowed = ",".join([*(tool for tool in role.tools if tool not in asked), *ours])
    argv = [
        program,
        "-p",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--verbose",
        "--include-partial-messages",
        "--setting-sources=",
        "--strict-mcp-config",
        f"--permission-mode={_mode(role)}",
        f"--tools={tools}",
    ]
    if allowed:
        argv.append(f"--allowedTools={allowed}")
    if role.disallowed:
        argv.append(f"--disallowedTools={','.join(role.disallowed)}")
    argv += _options(role)
    if session_id is not None:
        argv.append(f"--{'resume' if resume else 'session-id'}={session_id}")
    return tuple(argv)


def _mode(role: CliRole) -> str:
    if role.permission_mode is not None:
        return role.permission_mode
    if role.asks_permission:
        return "default"
    return "dontAsk" if role.is_reading_only else "bypassPermissions"


def _options(role: CliRole) -> list[str]:
    options: list[str] = []
    if role.json_schema is not None:
        options.append(f"--json-schema={json.dumps(role.json_schema, sort_keys=True)}")
    if role.model is not None:
        options.append(f"--model={role.model}")
    if role.max_turns is not None:
        options.append(f"--max-turns={role.max_turns}")
    if role.append_system_prompt is not None:
        options.append(f"--append-system-prompt={role.append_system_prompt}")
    if role.max_budget_usd is not None:
        options.append(f"--max-budget-usd={role.max_budget_usd:g}")
    if role.asks_permission:
        options.append("--permission-prompt-tool=stdio")
    if role.servers:
        # Loaded always: 2.1.330 else hides a server's tools until the model searches for them.
        servers = {
            name: {"type": "sdk", "name": name, "alwaysLoad": True} for name, _ in role.servers
        }
        options.append(f"--mcp-config={json.dumps({'mcpServers': servers}, sort_keys=True)}")
    return options
