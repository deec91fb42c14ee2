"""The running fleet as text for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.actors.printable import printable
from understudy.outline import Branch, draw

if TYPE_CHECKING:
    from collections.abc import Iterator


def tree_lines(tree: dict[str, Any]) -> Iterator[str]:
    """The lines of what `Orchestrator.tree` gives."""
    children = [_supervisor(node) for node in tree["children"]]
    text = (
        f"root  {tree['state']}, pid {tree['pid']}, "
        f"{tree['queued']} tasks wait, {tree['running']} run"
    )
    notes = [f"problem: {tree['problem']}"] if tree["problem"] else []
    if count := tree["stale_messages"]:
        notes.append(f"{count} messages of ended incarnations dropped")
    return map(printable, draw(Branch(text, notes, children)))


def waiting_text(wait: dict[str, Any]) -> str:
    """For whom an agent waits, in words."""
    whom = " or ".join(wait["on"]) or "nobody"
    return f"waits for {whom} ({wait['what']} {wait['for_task'][:8]}, {wait['waited_s']:.0f} s)"


def _supervisor(node: dict[str, Any]) -> Branch:
    if node["state"] == "unknown":
        return Branch(f"{node['id']}  supervisor, gives no answer: it is busy, or it has ended")
    text = (
        f"{node['id']}  supervisor {node['strategy']}, {node['restarts_in_window']} of "
        f"{node['intensity']} restarts within {node['period_s']:g} s"
    )
    return Branch(text, children=[_child(child) for child in node["children"]])


def _child(node: dict[str, Any]) -> Branch:
    words = [node["state"] + (", suspended" if node.get("suspended") else "")]
    if node["next_start_s"] is not None:
        words.append(f"next start in {node['next_start_s']:.1f} s")
    words.append(f"incarnation {node['incarnation']}")
    if node["restarts"]:
        words.append(f"{node['restarts']} restart{'s' if node['restarts'] != 1 else ''}")
    if node["pid"]:
        words.append(f"pid {node['pid']}")
    if node.get("current_task"):
        words.append(f"task {node['current_task']}")
    notes = [waiting_text(wait) for wait in node.get("waits", ())]
    if failure := node["last_failure"]:
        notes.append(f"last failure ({failure['kind']}): {failure['detail']}")
    container = node.get("container")
    children = [Branch(f"{container}  pid {node['container_pid']}")] if container else []
    return Branch(f"{node['id']}  {', '.join(words)}", notes, children)
