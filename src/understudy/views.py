"""What a person sees: live progress, result tables, findings.

Everything here writes to a given console.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self, cast

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from understudy.actors.events import TaskEvent
from understudy.actors.printable import printable
from understudy.tree_view import waiting_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

    from understudy.actors.tasks.task import Task, TaskResult

_COLOURS = {
    "success": "green", "partial": "yellow", "failed": "red", "timeout": "red",
    "ready": "green", "busy": "cyan", "down": "red", "parked": "dim", "parking": "dim",
}  # fmt: skip
_SEVERITIES = ("critical", "high", "medium", "low")


class Progress:
    """Live progress of some tasks: a table that redraws on a terminal, plain lines elsewhere."""

    def __init__(self, tasks: list[Task], titles: Mapping[str, str], console: Console) -> None:
        self._console = console
        self._titles = titles
        self._rows: dict[str, dict[str, str]] = {
            task.task_id: {"state": "queued", "agent": "", "text": ""} for task in tasks
        }
        self._started: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._live = (
            Live(self, console=console, auto_refresh=True, refresh_per_second=8, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def __rich__(self) -> Table:
        """The table as it stands."""
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name in ("task", "state", "agent", "time", "doing"):
            table.add_column(
                name, no_wrap=True, overflow="ellipsis", ratio=3 if name == "doing" else None
            )
        now = time.monotonic()
        for task_id, row in self._rows.items():
            since = self._started.get(task_id)
            took = self._took.get(task_id, now - since if since else 0.0)
            state = row["state"]
            table.add_row(
                _safe(self._titles[task_id]),
                f"[{_COLOURS.get(state, 'cyan')}]{state}",
                row["agent"],
                f"{took:.1f}s" if since else "",
                _safe(row["text"]),
            )
        return table

    def update(self, update: TaskEvent | TaskResult | None) -> None:
        """Show what happened."""
        if isinstance(update, TaskEvent) and update.task_id in self._rows:
            self._on_event(update)

    def _on_event(self, event: TaskEvent) -> None:
        row = self._rows[event.task_id]
        if event.agent_id:
            row["agent"] = event.agent_id
        if event.kind == "started":
            self._started[event.task_id] = time.monotonic()
        if event.kind == "finished":
            since = self._started.get(event.task_id, time.monotonic())
            self._took[event.task_id] = time.monotonic() - since
        text = event.text.partition(": ")[2] if event.kind == "finished" else event.text
        row["text"] = text.splitlines()[0] if text else ""
        if event.kind != "progress":
            row["state"] = _word(event)
        if self._live is None:
            who = f" [{event.agent_id}]" if event.agent_id else ""
            text = f": {event.text}" if event.text else ""
            line = f"{self._titles[event.task_id]}{who} {event.kind}{text}"
            self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _safe(text: object) -> str:
    """Text that is not ours: it can neither command the terminal nor be taken for markup."""
    return escape(printable(str(text)))


def _word(event: TaskEvent) -> str:
    if event.kind == "finished":
        return event.text.split(":", 1)[0]
    return {"started": "working", "queued": "queued", "requeued": "waiting"}[event.kind]


def result_table(results: Iterable[TaskResult], titles: Mapping[str, str]) -> Table:
    """One line for each result."""
    table = Table(header_style="bold")
    table.add_column("task", overflow="fold", min_width=18)
    for name in ("status", "agent"):
        table.add_column(name, no_wrap=True)
    for name in ("time", "tries", "tokens", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        usage = result.usage
        cost = "unknown" if result.cost_usd is None else f"${result.cost_usd:.4f}"
        table.add_row(
            _safe(titles.get(result.task_id, result.task_id)),
            f"[{_COLOURS.get(result.status, 'white')}]{result.status}",
            result.agent_id,
            f"{result.execution_time:.2f}s",
            str(result.attempts),
            f"{usage.get('input_tokens', 0)}/{usage.get('output_tokens', 0)}" if usage else "",
            cost,
        )
    return table


def print_outcome(console: Console, result: TaskResult) -> None:
    """What a task found, wrote or said; its error if it failed."""
    if result.error:
        console.print(f"[red]{result.status}[/]: {_safe(result.error)}")
    data = result.result
    if isinstance(data.get("details"), dict):
        _print_details(console, cast("dict[str, dict[str, Any]]", data["details"]))
    for key in ("output", "analysis_type", "result"):
        if isinstance(data.get(key), str) and data[key]:
            print_plain(console, data[key])
    for finding in cast("list[object]", data.get("findings") or []):
        console.print(f"  - {_safe(finding)}", highlight=False)
    for path, why in cast("dict[str, object]", data.get("not_taken") or {}).items():
        console.print(f"not taken along: {_safe(path)}: {_safe(why)}", highlight=False)
    if data.get("diff"):
        print_plain(console, str(data["diff"]))
    if result.branch:
        next_step = f"understudy apply|merge|checkout {result.task_id[:8]}"
        console.print(f"on branch {_safe(result.branch)}; take it over: {next_step}")
    elif data.get("branch_error"):
        console.print(f"no branch was made: {_safe(data['branch_error'])}")


def print_plain(console: Console, text: str) -> None:
    """Print an agent's text as it is, so that `git apply` takes a diff from it.

    On a terminal what could command the terminal is escaped: the text is not ours.
    """
    if console.is_terminal:
        text = printable(text)
    console.file.write(text if text.endswith("\n") else text + "\n")


def _print_details(console: Console, details: dict[str, dict[str, Any]]) -> None:
    for path, detail in details.items():
        issues = cast("list[dict[str, Any]]", detail.get("issues") or [])
        console.print(f"[bold]{_safe(path)}[/]: {_safe(detail.get('summary', ''))}")
        for issue in sorted(issues, key=_severity):
            line = f":{issue['line']}" if issue.get("line") else ""
            text = f"  {issue.get('severity', '?'):<8} {path}{line}  {issue.get('message', '')}"
            console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _severity(issue: dict[str, Any]) -> int:
    word = str(issue.get("severity"))
    return _SEVERITIES.index(word) if word in _SEVERITIES else len(_SEVERITIES)


def status_table(status: dict[str, Any]) -> Table:
    """One line for each agent."""
    table = Table(header_style="bold")
    for name in ("agent", "state", "task", "warm for", "pid", "start", "restarts", "last failure"):
        table.add_column(name, overflow="fold")
    for agent_id, agent in status["agents"].items():
        state = str(agent["state"])
        reasons = [agent["waits_for"]] if agent.get("waits_for") else []
        reasons += [waiting_text(w) for w in status.get("waits", ()) if w["agent_id"] == agent_id]
        waits = f" ({', '.join(reasons)})" if reasons else ""
        role = f" ({agent['role']})" if agent.get("role") else ""
        table.add_row(
            f"{agent_id}{role}",
            f"[{_COLOURS.get(state, 'white')}]{state}{waits}",
            agent["current_task"] or "",
            agent["warm_for"] or "",
            str(agent["pid"] or ""),
            str(agent["incarnation"]),
            str(agent["restarts"]),
            _safe(agent["last_failure"] or ""),
        )
    return table


def why_nothing_is_given_out(status: dict[str, Any]) -> str | None:
    """Why no agent gets a task now, in words; None when they do."""
    match status["blocked_by"]:
        case None:
            return None
        case "gateway":
            return "the gateway is not ready"
        case why:
            return f"the API asks to wait for {status['paused_s']:.0f} s ({why})"


def services_table(status: dict[str, Any]) -> Table:
    """One line for each service that the agents rely on."""
    table = Table(header_style="bold")
    for name in ("service", "state", "pid", "start", "restarts", "last failure"):
        table.add_column(name, overflow="fold")
    for name, service in status["services"].items():
        state = str(service["state"])
        table.add_row(
            name,
            f"[{_COLOURS.get(state, 'white')}]{state}",
            str(service["pid"] or ""),
            str(service["incarnation"]),
            str(service["restarts"]),
            _safe(service["last_failure"] or ""),
        )
    return table
