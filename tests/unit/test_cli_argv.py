"""The CLI's command line and environment."""

from __future__ import annotations

import json

import pytest

from understudy.actors.claude.argv import CLI_ENV, CliRole, cli_argv
from understudy.actors.claude.tools import MAX_WAIT_S


def test_every_value_is_bound_to_its_flag() -> None:
    role = CliRole(
        tools=("Bash", "Read"),
        json_schema={"type": "object"},
        model="a-model",
        max_turns=7,
        disallowed=("Bash(rm *)",),
        append_system_prompt="two words",
    )
    program, mode, *flags = cli_argv(role, session_id="an-id")
    assert (program, mode) == ("claude", "-p")
    assert all(flag.startswith("--") for flag in flags)
    for flag in (
        "--tools=Bash,Read",
        "--allowedTools=Bash,Read",
        "--disallowedTools=Bash(rm *)",
        "--model=a-model",
        "--max-turns=7",
        "--append-system-prompt=two words",
        "--session-id=an-id",
    ):
        assert flag in flags
    schema = next(flag for flag in flags if flag.startswith("--json-schema="))
    assert json.loads(schema.partition("=")[2]) == {"type": "object"}


@pytest.mark.parametrize(
    ("tools", "mode"),
    [
        (("Read", "Grep", "Glob"), "dontAsk"),
        (("Read", "Bash"), "bypassPermissions"),
        (("Write",), "bypassPermissions"),
        ((), "dontAsk"),
    ],
)
def test_only_a_role_that_acts_may_do_anything(tools: tuple[str, ...], mode: str) -> None:
    assert f"--permission-mode={mode}" in cli_argv(CliRole(tools))


def test_a_role_without_tools_says_so() -> None:
    argv = cli_argv(CliRole(()))
    assert "--tools=" in argv
    assert not any(flag.startswith("--allowedTools") for flag in argv)


def test_what_the_repository_brings_is_not_read() -> None:
    argv = cli_argv(CliRole(("Read",)))
    assert {"--setting-sources=", "--strict-mcp-config"} < set(argv)


def test_equal_roles_have_equal_command_lines() -> None:
    one = CliRole(("Read",), json_schema={"a": 1, "b": 2})
    other = CliRole(("Read",), json_schema={"b": 2, "a": 1})
    assert cli_argv(one) == cli_argv(other)


def test_the_environment_holds_no_real_key_and_one_way_out() -> None:
    assert CLI_ENV["ANTHROPIC_API_KEY"] == "placeholder"
    assert CLI_ENV["ANTHROPIC_UNIX_SOCKET"] == "/run/agent/api.sock"
    assert CLI_ENV["ANTHROPIC_BASE_URL"].startswith("http://")


def test_a_role_that_asks_is_allowed_what_only_reads_and_our_tools() -> None:
    servers = (("bus", ("mcp__bus__ask_agent",)),)
    argv = cli_argv(CliRole(("Bash", "Read"), asks_permission=True, servers=servers))
    assert "--permission-prompt-tool=stdio" in argv
    assert "--permission-mode=default" in argv
    assert "--tools=Bash,Read" in argv
    assert "--allowedTools=Read,mcp__bus__ask_agent" in argv


def test_our_servers_are_always_loaded() -> None:
    argv = cli_argv(CliRole((), servers=(("bus", ("mcp__bus__ask_agent",)),)))
    config = next(flag for flag in argv if flag.startswith("--mcp-config="))
    servers = json.loads(config.partition("=")[2])["mcpServers"]
    assert servers == {"bus": {"type": "sdk", "name": "bus", "alwaysLoad": True}}
    assert not any(flag.startswith("--mcp-config") for flag in cli_argv(CliRole(())))


def test_a_conversation_is_begun_or_gone_on_with() -> None:
    assert "--session-id=abc" in cli_argv(CliRole(()), session_id="abc")
    assert "--resume=abc" in cli_argv(CliRole(()), session_id="abc", resume=True)


def test_a_cap_in_dollars_is_handed_on() -> None:
    assert "--max-budget-usd=0.5" in cli_argv(CliRole((), max_budget_usd=0.5))


def test_the_cli_waits_longer_for_our_tools_than_they_may_take() -> None:
    assert int(CLI_ENV["MCP_TOOL_TIMEOUT"]) > MAX_WAIT_S * 1000
