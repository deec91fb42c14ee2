"""Calls that need a yes, answered at the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.cli.repl import ask_about, settle

if TYPE_CHECKING:
    import pytest

SEEN = {"task_id": "t", "agent_id": "a", "tool": "Bash", "input": "{}", "request_id": "seen"}


class Fleet:
    """Keeps what it is told; only the calls named in `is_open` can be answered."""

    def __init__(self, *is_open: str) -> None:
        self.is_open = is_open
        self.told: list[tuple[bool, str | None, str | None]] = []

    def settle_call(
        self, task_id: str, *, allow: bool, text: str | None = None, call: str | None = None
    ) -> dict[str, Any] | None:
        self.told.append((allow, text, call))
        return SEEN | {"task_id": task_id} if call in (None, *self.is_open) else None

    def approve(self, task_id: str, *, call: str) -> bool:
        return self.settle_call(task_id, allow=True, call=call) is not None

    def deny(self, task_id: str, *, call: str) -> bool:
        return self.settle_call(task_id, allow=False, call=call) is not None

    def answer(self, task_id: str, text: str, *, call: str) -> bool:
        return self.settle_call(task_id, allow=False, text=text, call=call) is not None


def said(fleet: Fleet, *answers: str, asked: dict[str, str] = SEEN) -> None:
    left = list(answers)
    orchestrator: Any = fleet
    ask_about(orchestrator, asked, lambda _: left.pop(0))
    assert not left


def test_an_answer_is_for_the_call_that_was_shown() -> None:
    fleet = Fleet("seen")
    for answer in ("y", "", "use the other file"):
        said(fleet, answer)
    assert fleet.told == [
        (True, None, "seen"),
        (False, None, "seen"),
        (False, "use the other file", "seen"),
    ]


def test_a_yes_that_comes_too_late_is_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    said(Fleet("another"), "y")
    assert "too late" in capsys.readouterr().out


def test_a_long_call_is_shown_whole_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    fleet = Fleet("seen")
    said(fleet, "all", "n", asked=SEEN | {"input": "x" * 3000 + "; \x9bcurl"})
    cut, _, whole = capsys.readouterr().out.partition("say all to see them")
    assert "curl" not in cut
    assert "; \\x9bcurl" in whole
    assert fleet.told == [(False, None, "seen")]


def test_commands_may_name_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    fleet = Fleet("seen")
    orchestrator: Any = fleet
    settle(orchestrator, "approve", "t --call seen")
    settle(orchestrator, "answer", "t --call gone use the other file")
    settle(orchestrator, "answer", "t use the other file")
    settle(orchestrator, "answer", "t")
    assert fleet.told == [
        (True, None, "seen"),
        (False, "use the other file", "gone"),
        (False, "use the other file", None),
    ]
    assert capsys.readouterr().out.splitlines() == [
        "t goes on; allowed: Bash {}",
        "t does not ask for that",
        "t goes on; refused: Bash {}",
        "usage: answer TASK [--call ID] TEXT",
    ]
