"""The plan of a configuration as text for people. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from understudy.outline import Branch, draw

if TYPE_CHECKING:
    from collections.abc import Iterator


def plan_lines(plan: dict[str, Any]) -> Iterator[str]:
    """The lines of what `plan_of` gives."""
    yield from draw(_root(plan["tree"]))
    yield ""
    yield "at worst"
    supervisors = {node["id"]: node for node in plan["tree"]["children"]}
    for name, case in plan["worst"]["supervisors"].items():
        yield from _case(name, case, supervisors[name])
    levels = plan["worst"]["levels"]
    factors = " x ".join(f"({name} {borne} + 1)" for name, borne in levels["restarts"].items())
    yield f"  over all levels: {factors} - 1 = {levels['product']} restarts before the fleet ends"
    yield from _spend(plan["worst"]["spend"])
    yield f"  an orderly stop takes up to {plan['worst']['stop_s']:g} s, if no process listens"
    yield ""
    if not plan["warnings"]:
        yield "no warnings"
    for warning in plan["warnings"]:
        yield f"warning: {warning['text']}"


def _root(tree: dict[str, Any]) -> Branch:
    return Branch("root  ends with either supervisor", [], [_rules(n) for n in tree["children"]])


def _rules(node: dict[str, Any]) -> Branch:
    text = (
        f"{node['id']}  supervisor {node['strategy']}: bears {node['intensity']} restarts "
        f"within {node['period_s']:g} s, then it gives up"
    )
    alike = [list(group) for _, group in groupby(node["children"], _rules_of)]
    return Branch(text, [], [branch for group in alike for branch in _children(group)])


def _rules_of(child: dict[str, Any]) -> dict[str, Any]:
    """All of an agent but its name; services have rules of their own."""
    if child["kind"] != "agent":
        return child
    containers = [container | {"id": ""} for container in child["children"]]
    return child | {"id": "", "children": containers}


def _children(group: list[dict[str, Any]]) -> list[Branch]:
    """Children that are all alike: their rules stand with the last of them."""
    *others, last = group
    kind = f"agent of role {last['role']}" if last.get("role") else last["kind"]
    names = [f"{child['id']}  {kind}" for child in others]
    notes = [_life(last)]
    if backoff := last["backoff"]:
        notes.append(
            f"a restart waits {backoff['min_s']:g} s, each next one {backoff['factor']:g} times as "
            f"long, at most {backoff['max_s']:g} s, and up to {backoff['jitter']:.0%} more by "
            f"chance; forgotten after {backoff['reset_after_s']:g} s"
        )
    containers = [_container(child) for child in last["children"]]
    text = f"{last['id']}  {kind}, {last['restart']}"
    return [*(Branch(name) for name in names), Branch(text, notes, containers)]


def _life(child: dict[str, Any]) -> str:
    ping = child["liveness_interval_s"]
    hung = f"hung after {ping:g} s without an answer" if ping else "not pinged"
    ready, ended = child["start_timeout_s"], child["shutdown_s"]
    return f"ready within {ready:g} s, {hung}, ends within {ended:g} s"


def _container(node: dict[str, Any]) -> Branch:
    warm = f"warm for {node['warm_for']}" if node["warm_for"] else "started with its first task"
    text = (
        f"container  {node['image']}, {node['memory']} memory, {node['cpus']} processors, "
        f"{node['pids_limit']} processes, {_model(node)}, {warm}"
    )
    notes = [f"hung after {node['stall_s']:g} s without an event in a turn"]
    if idle_s := node["park_after_s"]:
        notes.append(f"ended when its agent has been idle for {idle_s:g} s, until a task comes")
    return Branch(text, notes)


def _model(node: dict[str, Any]) -> str:
    model = node["model"] or "the CLI's own model"
    return f"{model} for {node['max_turns']} turns"


def _case(name: str, case: dict[str, Any], node: dict[str, Any]) -> Iterator[str]:
    if case["together_s"] is None:
        yield f"  {name}: never gives up, its backoff is too slow for that"
    else:
        yield (
            f"  {name}: gives up at fall {case['falls']} within {node['period_s']:g} s, that is "
            f"{case['together_s']:g} to {case['longest_s']:g} s after the first; it has started "
            f"up to {case['process_starts']} processes by then"
        )
    if case["alone_s"] is None:
        soon = " at once," if case["alone_can_end"] else ""
        yield f"    one child that falls{soon} over and over is restarted for ever"
    else:
        most = "for ever" if case["alone_jitter_s"] is None else f"{case['alone_jitter_s']:g} s"
        yield (
            f"    one child that falls at once, over and over: {case['alone_s']:g} s to {most}; "
            f"one that lives {case['endless_life_s']:g} s or more each time: for ever"
        )
    yield f"    without giving up: at most {case['restarts_per_hour']} restarts an hour"


def _spend(spend: dict[str, Any]) -> Iterator[str]:
    if spend["usd"] is None:
        yield "  spend: unknown, no budget in dollars bounds it"
    else:
        yield (
            f"  spend: at most ${spend['usd']:,.2f} within {spend['window_s']:g} s for a full "
            "queue; each cap can be passed by one answer"
        )
    for kind, caps in spend["caps"].items():
        yield from _caps(kind, caps)
    yield (
        f"    without a budget: {spend['attempts_per_task']} attempts of a task and "
        f"{spend['retries_per_task']} more while the API fails, {spend['turns_per_attempt']} "
        f"turns of the model each ({spend['max_turns']} for each of 3 prompts, if the conversation "
        f"grows too long), {spend['given_per_task']} tasks given away below it, "
        f"{spend['tasks']} tasks that wait or run"
    )
    yield (
        f"    at most {spend['turns_per_task']} turns for a task of the default timeout, "
        f"{spend['turns']} for a full queue"
    )


def _caps(kind: str, caps: dict[str, float | None]) -> Iterator[str]:
    whose = {"task": "a task", "agent": "an agent", "fleet": "the fleet"}
    named = [f"{cap:,.12g} {whose[name]}" for name, cap in caps.items() if name in whose and cap]
    if named:
        yield f"    budget in {kind}: {', '.join(named)}; {caps['most']:,.12g} in all"
