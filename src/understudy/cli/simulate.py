"""`simulate`: what a supervisor does in a scripted scenario, without processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from understudy.supervision.scenario import (
    Allow,
    Ask,
    Exit,
    FailStart,
    Spend,
    Together,
    Wait,
    parse,
)
from understudy.supervision.simulate import play, play_by_step
from understudy.supervision.yaml_file import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.supervision.scenario import Scenario, Step
    from understudy.supervision.simulate import Edge

_MARKS = {"start": "+", "start_failed": "!", "stop": "-", "not_running": "?", "no_budget": "?"}


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--tree", "as_tree", is_flag=True, help="Draw it for people, instead of JSON lines.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the backoff's jitter.")
def simulate(file: str, as_tree: bool, seed: int) -> int:
    """Play the scenario in FILE on the real supervisor, under a virtual clock.

    FILE is YAML: `supervisor` (strategy, intensity, period, auto_shutdown, backoff, children) and
    `steps`. One JSON object a line says what happens. docs/supervision.md describes both.
    """
    scenario = load(file, parse)
    lines = draw(scenario, seed) if as_tree else map(json.dumps, play(scenario, seed=seed))
    for line in lines:
        click.echo(line)
    return 0


# -- for people -----------------------------------------------------------------------------------


def draw(scenario: Scenario, seed: int) -> Iterator[str]:
    """The scenario step by step, each with what followed from it."""
    spec = scenario.supervisor
    yield (
        f"{spec.strategy}, {spec.intensity} restarts in {spec.period_s:g} s, "
        f"auto_shutdown {spec.auto_shutdown}"
    )
    for cause, events in play_by_step(scenario, seed=seed):
        yield f"├─ {_title(cause)}"
        for number, event in enumerate(events, 1):
            yield f"│  {'└─' if number == len(events) else '├─'} {_text(event)}"


def _title(cause: Step | Edge) -> str:  # noqa: PLR0911 - a plain table
    match cause:
        case Exit(child_id, reason, kind):
            return f"{child_id} ends: {reason}" + (f" ({kind})" if kind else "")
        case Spend(child_id, amount) | Allow(child_id, amount):
            verb = "spends" if isinstance(cause, Spend) else "is granted"
            return f"{child_id} {verb} {amount:g}"
        case FailStart(child_id, times):
            return f"the next {times} starts of {child_id} are to fail"
        case Ask(op, child_id):
            return f"request: {op} {child_id}"
        case Wait(seconds):
            return f"{seconds:g} s pass"
        case Together(steps):
            return "at once: " + "; ".join(_title(step) for step in steps)
        case "start" | "end":
            return "the supervisor starts" if cause == "start" else "the scenario is over"


def _text(event: dict[str, Any]) -> str:
    match event:
        case {"event": "exit", "child": child, "reason": reason}:
            return f"x {child} {reason}"
        case {"event": "child", "child": child, "state": state}:
            return f"  {child} is {state}"
        case {"event": "result", "op": op, "child": child, "result": result}:
            return f"= {op} {child}: {result}"
        case {"event": "budget_warning" | "budget_spent" as kind, "child": child}:
            words = kind.replace("_", " ")
            return f"$ {words}: {child}, {event['spent']:g} of {event['limit']:g}"
        case {"event": "supervisor_exit", "reason": reason}:
            return f"x the supervisor: {reason}"
        case _:
            kind = str(event["event"])
            return f"{_MARKS[kind]} {kind.replace('_', ' ')} {event['child']}"
