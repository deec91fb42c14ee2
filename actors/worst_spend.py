"""What a fleet can spend at most: the caps of its settings, and what bounds it without. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .fleet_specs import agent_ids
from .retries import RootLimits, tries_within
from .tasks.types import TASK_TYPES
from .team.roles import Roles

if TYPE_CHECKING:
    from .settings import RoleSettings, Settings

_KINDS = ("dollars", "tokens", "turns", "seconds")
# The task's prompt, and the two ways on in a conversation that has grown too long.
_PROMPTS = 3
# What sums the conversation up between them is an answer of the model too.
_SUMMARIES = 1
_GIVING_TOOLS = frozenset({"ask_agent", "delegate_task"})


def worst_spend(settings: Settings) -> dict[str, Any]:
    """What bounds the spending; a cap that is not set, and what follows from none, is None.

    `usd` is the most that a full queue spends in dollars within one `window_s` (seconds), `caps`
    the same by kind of budget, with the caps that it comes from.
    """
    limits, timeout_s = RootLimits.of(settings), settings.orchestrator.task_timeout
    free = tries_within(limits, timeout_s)
    max_turns, given = _max_turns(settings), _given_per_task(settings)
    per_attempt = _PROMPTS * max_turns + _SUMMARIES
    per_task = (limits.max_attempts + free) * per_attempt * (1 + given)
    tasks = _tasks(settings)
    caps = {kind: _caps(settings, kind, tasks) for kind in _KINDS}
    return {
        "usd": caps["dollars"]["most"],
        "caps": caps,
        "window_s": settings.budget.budget_window,
        "attempts_per_task": limits.max_attempts,
        "retries_per_task": free,
        "max_turns": max_turns,
        "turns_per_attempt": per_attempt,
        "given_per_task": given,
        "turns_per_task": per_task,
        "tasks": tasks,
        "turns": per_task * tasks,
    }


def _tasks(settings: Settings) -> int:
    """The tasks that wait in a full queue or run."""
    running = min(settings.orchestrator.max_workers, len(agent_ids(settings)))
    return settings.task_queue.max_size + running


def _caps(settings: Settings, kind: str, tasks: int) -> dict[str, float | None]:
    """One kind of budget: the cap of the dearest task, of an agent, of the fleet, and of all."""
    task = _task_cap(settings, kind)
    agent = getattr(settings.budget, f"agent_{kind}")
    fleet = getattr(settings.budget, f"fleet_{kind}")
    sums = (_times(tasks, task), _times(len(agent_ids(settings)), agent), fleet)
    most = min((each for each in sums if each is not None), default=None)
    return {"task": task, "agent": agent, "fleet": fleet, "most": most}


def _task_cap(settings: Settings, kind: str) -> float | None:
    """The most that any task of a user's may spend; None when there is one without a cap."""
    common = getattr(settings.budget, f"task_{kind}")
    caps: list[float | None] = []
    for role in _doers(settings):
        own = getattr(role.budget, kind) if role else None
        caps.append(common if own is None else own)
    known = [cap for cap in caps if cap is not None]
    return max(known) if len(known) == len(caps) else None


def _max_turns(settings: Settings) -> int:
    common = settings.agent.max_turns
    return max((role and role.limits.max_turns) or common for role in _doers(settings))


def _doers(settings: Settings) -> list[RoleSettings | None]:
    """All that tasks can be done by: each role, and None where no role does some task type."""
    roles = list(settings.roles.values())
    taken = {task_type for role in roles for task_type in role.tasks}
    return [*roles] if taken >= set(TASK_TYPES) else [*roles, None]


def _given_per_task(settings: Settings) -> int:
    """How many tasks agents give away below one of a user's, at most."""
    roles = Roles.of(settings)
    keys = [*TASK_TYPES, *(f"generic@{name}" for name in roles.names)]
    gives = any(_GIVING_TOOLS.intersection(roles.type_by_key(k).manner.team_tools) for k in keys)
    return settings.team.max_tasks if gives else 0


def _times(number: int, cap: float | None) -> float | None:
    return None if cap is None else number * cap
