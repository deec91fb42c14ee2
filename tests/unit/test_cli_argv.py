"""The CLI's command line and environment."""

from __future__ import annotations

import json

import pytest

from understudy.actors.claude.argv import CLI_ENV, CliRole, cli_argv


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
