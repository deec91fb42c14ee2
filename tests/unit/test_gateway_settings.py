"""What the settings say to the gateway: budgets that cannot be kept are refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.actors.gateway.credential_source import read_credentials
from understudy.actors.gateway.credentials import InvalidCredentials
from understudy.actors.gateway.desk import DeskPlan
from understudy.actors.gateway.from_settings import cli_env, desk_args
from understudy.config import ConfigurationError, load


def test_a_budget_in_dollars_needs_a_model_with_a_price(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("budget:\n  task_dollars: 2\n")
    with pytest.raises(ConfigurationError, match=r"needs agent\.model") as caught:
        load(file)
    assert (caught.value.source, caught.value.line) == (str(file), 2)
    file.write_text("agent:\n  model: mystery\nbudget:\n  fleet_dollars: 2\n")
    with pytest.raises(ConfigurationError, match="'mystery' has no price"):
        load(file)
    file.write_text("agent:\n  model: claude-sonnet-4-5\nbudget:\n  fleet_dollars: 2\n")
    assert load(file).settings.budget.fleet_dollars == 2.0


def test_a_role_with_a_model_of_its_own_needs_a_price_for_it_too(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    role = "roles:\n  reviewer:\n    tasks: [code_review]\n    model: mystery\n"
    file.write_text(f"agent:\n  model: claude-sonnet-4-5\nbudget:\n  fleet_dollars: 2\n{role}")
    with pytest.raises(ConfigurationError, match="'mystery' has no price"):
        load(file)
    file.write_text(f"{role}    budget: {{dollars: 2.5}}\n")
    with pytest.raises(ConfigurationError, match="'mystery' has no price"):
        load(file)


def test_a_budget_in_tokens_needs_no_price() -> None:
    assert load(overrides={"budget.fleet_tokens": 5}).settings.budget.fleet_tokens == 5


def test_a_price_table_of_ones_own_takes_the_place_of_the_packages(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    row = "[input, cache_write_5m, cache_write_1h, cache_read, output]"
    prices.write_text(
        f"source: me\nas_of: 2026-01-01\ncolumns: {row}\nmodels: {{own: [1,1,1,1,2]}}"
    )
    given = {"agent.model": "own", "budget.task_dollars": 1, "budget.prices_file": str(prices)}
    settings = load(overrides=given).settings
    plan = DeskPlan.from_args(desk_args(settings, tmp_path, "service"))
    assert plan.prices.knows("own")
    assert plan.budget.task.dollars == 1
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(overrides=given | {"budget.prices_file": str(tmp_path / "none.yaml")})


def test_the_settings_reach_the_gateway(tmp_path: Path) -> None:
    given = {
        "gateway.max_wait": 7.0,
        "gateway.max_queue": 9,
        "gateway.requests_per_minute": 11,
        "gateway.tokens_per_minute": 13,
        "gateway.api_timeout": 17.0,
        "budget.agent_turns": 19,
        "budget.fleet_seconds": 23.0,
        "budget.budget_window": 29.0,
    }
    settings = load(overrides=given).settings
    plan = DeskPlan.from_args(desk_args(settings, tmp_path, "run"))
    assert (plan.max_wait_s, plan.max_waiting, plan.head_s) == (7.0, 9, 17.0)
    assert plan.limits == {"requests": 11.0, "tokens": 13.0}
    assert (plan.budget.agent.turns, plan.budget.fleet.seconds) == (19, 23.0)
    assert plan.budget.window_s == 29.0
    assert plan.ledger == tmp_path / "ledger.db"


def test_the_cli_waits_longer_for_the_gateway_than_the_gateway_for_the_api() -> None:
    settings = load(overrides={"gateway.api_timeout": 17.0}).settings
    assert int(cli_env(settings)["API_TIMEOUT_MS"]) > 17_000


# -- where the key comes from -----------------------------------------------------------------


def test_a_key_is_read_from_a_file_as_a_shell_would(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# keys\nOTHER=1\nexport ANTHROPIC_AUTH_TOKEN='tok'\n")
    read = read_credentials(str(file), None)
    assert read is not None
    assert (read.kind, read.value) == ("auth_token", "tok")
    assert read_credentials(None, None) is None


def test_a_key_is_read_from_a_command_and_a_token_of_a_login_known_by_its_form() -> None:
    for value, kind in (("sk-ant-api03-x", "api_key"), ("sk-ant-oat01-x", "oauth")):
        read = read_credentials(None, f"printf '%s\\n' {value}")
        assert read is not None
        assert (read.kind, read.value) == (kind, value)


@pytest.mark.parametrize(
    ("file", "command", "reason"),
    [
        ("/nowhere/at/all", None, "cannot be read"),
        ("/dev/null", None, "sets no ANTHROPIC_API_KEY"),
        (None, "false", "exit code 1"),
        (None, "/nowhere/at/all", "cannot be run"),
        (None, "echo 'two words'", "holds a space"),
        (None, "true", "has no value"),
        (None, "'", "cannot be run"),
    ],
)
def test_a_source_without_a_key_says_what_is_wrong(
    file: str | None, command: str | None, reason: str
) -> None:
    with pytest.raises(InvalidCredentials, match=reason):
        read_credentials(file, command)
