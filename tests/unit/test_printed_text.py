"""What agents, models and repositories wrote commands no terminal that it is printed on."""

from __future__ import annotations

import io
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from understudy import views
from understudy.actors.events import TaskEvent
from understudy.actors.printable import printable
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState
from understudy.cli.app import app, run_app
from understudy.logs import configure_logging
from understudy.tree_view import tree_lines

if TYPE_CHECKING:
    from collections.abc import Callable

# Clears the screen, as it is and with C1; writes the title; turns the letters around; ends a line.
EVIL = "evil\x1b[2J\x9b2J\x1b]0;x\x07\u202e\u2066\r"
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066]")
# What rich makes a table or a colour with.
_OURS = re.compile(r"\x1b\[[0-9;]*m")


def assert_safe(text: str) -> None:
    assert "evil" in text
    assert not _RAW.search(_OURS.sub("", text)), ascii(text)


def shown(show: Callable[[Console], object], *, terminal: bool = False) -> str:
    file = io.StringIO()
    show(Console(file=file, width=300, force_terminal=terminal, emoji=False))
    return file.getvalue()


def test_what_commands_is_escaped_and_all_else_is_as_it_was() -> None:
    assert printable("\x1b[2J\x9b\u202e\ud800\x7f\r") == r"\x1b[2J\x9b\u202e\ud800\x7f\r"
    text = "a\tb\nÄ 漢字 עברית \U0001f468\u200d\U0001f469 [x] \\x1b"
    assert printable(text) == text


@pytest.mark.parametrize("terminal", [False, True])
def test_an_outcome(terminal: bool) -> None:
    issue = {"severity": "high", "line": 1, "message": EVIL}
    data: dict[str, Any] = {
        "details": {f"{EVIL}.py": {"summary": EVIL, "issues": [issue]}},
        "findings": [EVIL],
        "branch_error": EVIL,
        "not_taken": {EVIL: "too large"},
    }
    result = TaskResult("t", "agent_000", "failed", data, error=EVIL)
    assert_safe(shown(lambda console: views.print_outcome(console, result), terminal=terminal))
    text = shown(lambda console: views.print_outcome(console, result))
    assert f"not taken along: {printable(EVIL)}: too large" in text
    said = TaskResult("t", "agent_000", "success", {"output": EVIL, "diff": EVIL}, branch=EVIL)
    assert_safe(shown(lambda console: views.print_outcome(console, said), terminal=True))


def test_a_patch_for_another_program_is_as_it_is() -> None:
    assert shown(lambda console: views.print_plain(console, EVIL)) == f"{EVIL}\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_progress(terminal: bool) -> None:
    task = Task(task_type="generic", description="x", task_id="t")

    def show(console: Console) -> None:
        progress = views.Progress([task], {"t": EVIL}, console)
        progress.update(TaskEvent("t", "started", 0.0, "agent_000", ""))
        progress.update(TaskEvent("t", "progress", 0.0, "agent_000", EVIL))
        if terminal:
            console.print(progress)

    assert_safe(shown(show, terminal=terminal))


def test_tables() -> None:
    agent: dict[str, Any] = dict.fromkeys(("current_task", "warm_for", "pid"))
    agent |= {"state": "down", "incarnation": 1, "restarts": 0, "last_failure": EVIL}
    status = {"agents": {"agent_000": agent}, "services": {"gateway": agent}}
    for table in (views.status_table(status), views.services_table(status)):
        assert_safe(shown(lambda console, table=table: console.print(table)))  # type: ignore[misc]
    result = TaskResult("t", "agent_000", "success", {})
    assert_safe(shown(lambda console: console.print(views.result_table([result], {"t": EVIL}))))


def test_the_tree() -> None:
    failure = {"kind": "claude_died", "detail": EVIL}
    child = {
        "id": "agent_000", "state": "down", "next_start_s": None, "incarnation": 1, "restarts": 0,
        "pid": None, "last_failure": failure,
    }  # fmt: skip
    supervisor = {
        "id": "agents", "state": "running", "strategy": "one_for_one", "restarts_in_window": 0,
        "intensity": 3, "period_s": 5.0, "children": [child],
    }  # fmt: skip
    tree = {
        "state": "running", "pid": 1, "queued": 0, "running": 0, "problem": EVIL,
        "stale_messages": 0, "children": [supervisor],
    }  # fmt: skip
    assert_safe("\n".join(tree_lines(tree)))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of a store with one failed task."""
    with TaskStore(tmp_path / "tasks.db") as store:
        store.add(Task(task_type="generic", description=EVIL, task_id="t"), "service")
        store.event("t", "agent_000", 0.0, "progress", f"{EVIL}\n00:00:00 forged")
        failed = TaskResult("t", "agent_000", "failed", {"output": ""}, error=EVIL)
        store.finish(failed, TaskState.FAILED)
    return tmp_path


@pytest.mark.parametrize("command", [("tasks",), ("logs", "t"), ("result", "t")])
def test_commands_that_read_the_store(state: Path, command: tuple[str, ...]) -> None:
    options = ["--set", f"storage.state_dir={state}", "--config", os.devnull]
    done = CliRunner().invoke(app, [command[0], *options, *command[1:]])
    assert_safe(done.output)
    assert "\n00:00:00 forged" not in done.output


def test_the_message_of_an_error(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del home
    monkeypatch.setattr("understudy.cli.app.arm_interrupt", lambda: None)
    assert run_app(["plan", EVIL]) == 2
    assert_safe(capsys.readouterr().err)


def test_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.handlers, logging.root.level
    try:
        configure_logging(tmp_path, "INFO", on_stderr=logging.INFO)
        logging.getLogger("x").warning("it said %s", EVIL)
        assert_safe(capsys.readouterr().err)
        assert_safe((tmp_path / "understudy.log").read_text())
    finally:
        for handler in logging.root.handlers:
            handler.close()
        logging.root.handlers, logging.root.level = before
