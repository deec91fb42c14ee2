"""What the settings say to the gateway, and to the CLI about it. Plain data in, plain data out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AgentError
from .ledger import LEDGER_NAME
from .prices import PRICES_FILE, load_prices

if TYPE_CHECKING:
    from ..settings import BudgetSettings, Settings

_DAY_S = 86400.0
# The gateway has this much more time to tell what went wrong than the API has to answer.
_ANSWER_S = 15.0


class InvalidBudget(AgentError):
    """A budget cannot be kept.

    Attributes:
        key: the setting at fault.
        reason: what is wrong, and how to mend it.
    """

    exit_code_of_command = 2

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


def check_budget(settings: Settings) -> None:
    """Refuse a budget in dollars for a model whose price is unknown.

    Raises:
        InvalidBudget: the model is the CLI's own choice, or not in the price table.
        InvalidPrices: the price table cannot be used.
    """
    budget = settings.budget
    caps = {
        "budget.task_dollars": budget.task_dollars,
        "budget.agent_dollars": budget.agent_dollars,
        "budget.fleet_dollars": budget.fleet_dollars,
    }
    common = next((name for name, cap in caps.items() if cap is not None), None)
    # The setting that caps dollars, the one that names the model, and the model.
    used = [(common, "agent.model", settings.agent.model)]
    for name, role in settings.roles.items():
        own = f"roles.{name}.budget.dollars" if role.budget.dollars is not None else None
        model = role.model or settings.agent.model
        used.append((own or common, f"roles.{name}.model" if role.model else "agent.model", model))
    capped = [(key, where, model) for key, where, model in used if key is not None]
    if not capped:
        return
    prices = load_prices(_prices_path(budget))
    for key, where, model in capped:
        if model is None:
            raise InvalidBudget(key, f"needs {where}: the CLI's own choice has no known price")
        if not prices.knows(model):
            text = f"{model!r} has no price in {_prices_path(budget)}; name a file with one"
            raise InvalidBudget(key, f"{text} in budget.prices_file, or limit tokens instead")


def desk_args(settings: Settings, state_dir: Path, fleet: str) -> dict[str, Any]:
    """The part of the gateway's child spec that `DeskPlan.from_args` reads."""
    gateway, budget = settings.gateway, settings.budget
    return {
        "ledger": str(state_dir / LEDGER_NAME),
        "fleet": fleet,
        "prices": str(_prices_path(budget)),
        "budget": _budget_args(budget),
        "limits": {
            "requests": gateway.requests_per_minute,
            "tokens": gateway.tokens_per_minute,
        },
        "source": {"file": gateway.credential_file, "command": gateway.credential_command},
        "max_waiting": gateway.max_queue,
        "max_wait_s": gateway.max_wait,
        "head_s": gateway.api_timeout,
        "keep_s": max(settings.storage.keep_days * _DAY_S, budget.budget_window),
    }


def cli_env(settings: Settings) -> dict[str, str]:
    """How long the CLI waits for the gateway, and how often it tries again."""
    timeout_s = settings.gateway.api_timeout + _ANSWER_S
    return {
        "CLAUDE_CODE_MAX_RETRIES": str(settings.gateway.api_retries),
        "API_TIMEOUT_MS": str(math.ceil(timeout_s * 1000)),
    }


def _prices_path(budget: BudgetSettings) -> Path:
    return Path(budget.prices_file).expanduser().absolute() if budget.prices_file else PRICES_FILE


def _budget_args(budget: BudgetSettings) -> dict[str, Any]:
    return {
        "task": {
            "dollars": budget.task_dollars,
            "tokens": budget.task_tokens,
            "turns": budget.task_turns,
            "seconds": budget.task_seconds,
        },
        "agent": {
            "dollars": budget.agent_dollars,
            "tokens": budget.agent_tokens,
            "turns": budget.agent_turns,
            "seconds": budget.agent_seconds,
        },
        "fleet": {
            "dollars": budget.fleet_dollars,
            "tokens": budget.fleet_tokens,
            "turns": budget.fleet_turns,
            "seconds": budget.fleet_seconds,
        },
        "window_s": budget.budget_window,
    }
