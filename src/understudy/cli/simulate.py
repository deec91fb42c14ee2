"""`simulate`: what a supervisor does in a scripted scenario, without processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import yaml

from understudy.config_file import ConfigurationError, compose, read_text
from understudy.supervision.scenario import (
    Ask,
    Exit,
    FailStart,
    InvalidScenario,
    Together,
    Wait,
    describe,
    parse,
)
from understudy.supervision.simulate import play, play_by_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.supervision.scenario import Scenario, Step
    from understudy.supervision.simulate import Edge

_MARKS = {"start": "+", "start_failed": "!", "stop": "-", "not_running": "?"}


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--tree", "as_tree", is_flag=True, help="Draw it for people, instead of JSON lines.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the backoff's jitter.")
def simulate(file: str, as_tree: bool, seed: int) -> int:
    """Play the scenario in FILE on the real supervisor, under a virtual clock.

    FILE is YAML: `supervisor` (strategy, intensity, period, auto_shutdown, backoff, children) and
    `steps`. One JSON object a line says what happens. docs/supervision.md describes both.
    """
    scenario = read_scenario(file)
    lines = draw(scenario, seed) if as_tree else map(json.dumps, play(scenario, seed=seed))
    for line in lines:
        click.echo(line)
    return 0


def read_scenario(file: str) -> Scenario:
    """The scenario of a YAML file.

    Raises:
        ConfigurationError: it cannot be read or is wrong; with the line and the step.
    """
    root = compose(file, read_text(file))
    try:
        return parse(_load(file, root))
    except InvalidScenario as error:
        place = describe(error.path)
        raise ConfigurationError(file, _line(root, error.path), place, error.detail) from error


def _load(file: str, root: yaml.Node | None) -> object:
    if root is None:
        return None
    loader = yaml.SafeLoader("")
    try:
        _check_keys(file, root)
        return loader.construct_document(root)  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigurationError(file, line, None, str(error.problem)) from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(file, None, None, f"cannot be read: {error}") from error
    finally:
        loader.dispose()


def _check_keys(file: str, node: yaml.Node) -> None:
    """Keys are words, each there once: of two, YAML would silently take the last."""
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _check_keys(file, part)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigurationError(file, line, None, "a key must be a word")
            if key.value in seen:
                raise ConfigurationError(file, line, key.value, "is there twice")
            seen.add(key.value)
            _check_keys(file, value)


def _line(node: yaml.Node | None, path: tuple[str | int, ...]) -> int | None:
    """The line of a place, or of the nearest that is there, from 1."""
    line = node.start_mark.line + 1 if node else None
    for part in path:
        found = _part(node, part)
        if found is None:
            break
        line, node = found
    return line


def _part(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        item: yaml.Node = node.value[part]
        return item.start_mark.line + 1, item
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    return None


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


def _title(cause: Step | Edge) -> str:
    match cause:
        case Exit(child_id, reason):
            return f"{child_id} ends: {reason}"
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
        case {"event": "supervisor_exit", "reason": reason}:
            return f"x the supervisor: {reason}"
        case _:
            kind = str(event["event"])
            return f"{_MARKS[kind]} {kind.replace('_', ' ')} {event['child']}"
