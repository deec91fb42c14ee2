from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from understudy.actors.claude.trace import Trace
from understudy.actors.taking_up import Opened, fate_of
from understudy.actors.task_runner import Job, TaskRunner
from understudy.actors.tasks.task import Task
from understudy.actors.workspace import Workspace as RealWorkspace


class Workspace:
    """A workspace without files."""

    home_dir = Path("/nonexistent")

    def __init__(self, not_taken: dict[str, str]) -> None:
        self._not_taken = not_taken

    def not_taken(self) -> dict[str, str]:
        return self._not_taken

    def mark(self, _task_id: str, _transcript_bytes: int) -> None:
        pass

    def stage(self, _task: Task) -> list[str]:
        return []

    def baseline(self) -> None:
        pass

    def diff(self) -> SimpleNamespace:
        return SimpleNamespace(text="", files_changed=[], left_out={})


class Seat:
    """A seat without a container, whose CLI keeps what it is asked."""

    def __init__(self, trace: Trace | None = None, not_taken: dict[str, str] | None = None) -> None:
        self.trace = trace
        self.not_taken = not_taken or {}
        self.prompts: list[str] = []
        self.client = self
        self.total_cost_usd = 0.0

    def open(self, _task: Task, _conversation: object) -> Opened:
        workspace: Any = Workspace(self.not_taken)
        return Opened(workspace, "s", self.trace)

    def ready_client(self) -> Seat:
        return self

    def run_turn(self, prompt: str, **_limits: object) -> dict[str, Any]:
        self.prompts.append(prompt)
        return {"type": "result", "subtype": "success", "is_error": False, "result": "done"}


def prompt_of(job: Job, trace: Trace | None = None) -> str:
    seat: Any = Seat(trace)
    told: list[tuple[str, str]] = []

    def progress(task_id: str, text: str) -> None:
        told.append((task_id, text))

    runner = TaskRunner("agent_000", seat, stall_s=1.0, transcripts=None, progress=progress)
    assert runner.run(job).status == "success"
    (prompt,) = seat.prompts
    return str(prompt)


class DeepSeat(Seat):
    """A seat whose CLI nests folders deeper than anybody reads."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.workspace = RealWorkspace(root)
        self.workspace.create()

    def open(self, _task: Task, _conversation: object) -> Opened:
        return Opened(self.workspace, "s")

    def run_turn(self, prompt: str, **limits: object) -> dict[str, Any]:
        self.workspace.work_dir.joinpath(*["d"] * 70).mkdir(parents=True)
        return super().run_turn(prompt, **limits)


def test_work_that_cannot_be_read_fails_the_task_and_its_folder_stays(tmp_path: Path) -> None:
    seat: Any = DeepSeat(tmp_path / "seat")
    runner = TaskRunner(
        "agent_000", seat, stall_s=1.0, transcripts=None, progress=lambda _task, _text: None
    )
    result = runner.run(Job(Task(description="dig"), 1))
    assert (result.status, result.failure_kind) == ("failed", "workspace")
    assert "nested more than 64 deep" in str(result.error)
    assert fate_of(result) == "left"


def test_the_prompt_says_that_the_task_may_have_run_when_it_may_have() -> None:
    task = Task(description="deploy it")
    assert "may have run already" not in prompt_of(Job(task, 1))
    assert "may have run already" in prompt_of(Job(task, 2, may_have_run=True))


def test_a_resumed_conversation_is_told_what_was_in_flight_and_not_the_request_again() -> None:
    job = Job(Task(description="deploy it"), 2, may_have_run=True)
    prompt = prompt_of(job, Trace(prompted=True, in_flight=('Bash {"command": "make"}',)))
    assert '- Bash {"command": "make"}' in prompt
    assert "may have happened" in prompt
    assert "deploy it" not in prompt


def test_files_that_are_not_there_are_named_to_the_agent_and_in_the_result() -> None:
    seat: Any = Seat(not_taken={"big": "too large"})
    runner = TaskRunner(
        "agent_000", seat, stall_s=1.0, transcripts=None, progress=lambda _task, _text: None
    )
    result = runner.run(Job(Task(description="deploy it"), 1))
    assert "\n- big: too large" in seat.prompts[0]
    assert result.result["not_taken"] == {"big": "too large"}
