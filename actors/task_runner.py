"""One task on one agent, from its files to its result: sequential code for the worker thread."""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .claude import ClaudeDied, TurnCancelled, TurnTimeout
from .claude.events import cost_delta, summarize
from .claude.session_lock import SessionHeld, SessionLockDamaged
from .claude.trace import transcript_size
from .crash import lost_cli
from .failure import POLICIES, FailureKind, classify_result
from .taking_up import ContextGone, Opened
from .talk_so_far import TalkSoFar
from .tasks.prompts import (
    MAX_NAMES,
    after_a_cut,
    going_on,
    grown_too_long,
    in_an_earlier_context,
    summed_up,
    without,
)
from .tasks.rows import Conversation
from .tasks.task import Task, TaskResult
from .team.roles import Roles
from .work import note_changes, put_on_branch, save_work
from .workspace import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from .claude import ClaudeClient
    from .saving import Saving
    from .seat import Seat
    from .tasks.types import TaskType
    from .workspace import Workspace

_log = logging.getLogger(__name__)

_GATEWAY = "gateway"
# The turn ended early by a limit: what was written until then is a part of the work.
_CUT_SHORT = (FailureKind.MAX_TURNS, FailureKind.BUDGET)


@dataclass(frozen=True)
class Job:
    """A task as it was handed to this agent, for the `attempt`-th time.

    `number` tells this run from all others. `may_have_run`: an agent had it and was cut off.
    `last_life`: one more fall of an agent that works on it makes it poison. `more_memory`: with
    what an agent usually has, it ran out of it.
    """

    task: Task
    attempt: int
    number: int = 0
    may_have_run: bool = False
    last_life: bool = False
    more_memory: bool = False
    conversation: Conversation = field(default_factory=Conversation.new)


class TaskRunner:
    """Runs one job at a time in the calling thread; `cancel` comes from another."""

    def __init__(
        self,
        agent_id: str,
        seat: Seat,
        *,
        stall_s: float,
        transcripts: Path | None,
        progress: Callable[[str, str], None],
        moved: Callable[[str, str], None] = lambda _task_id, _session_id: None,
        roles: Roles | None = None,
        saving: Saving | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent_id = agent_id
        self._seat = seat
        self._stall_s = stall_s
        self._transcripts = transcripts
        self._progress = progress
        self._moved = moved
        # A new conversation, in the middle of a task, that has not said anything yet.
        self._fresh: str | None = None
        self._roles = roles or Roles({}, {})
        self._saving = saving
        self._clock = clock
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._opened: Opened | None = None
        self._cancelled: int | None = None
        self._is_over = False
        self._api_error: str | None = None
        self._talk = TalkSoFar()

    def cancel(self, number: int, *, is_over: bool = False) -> bool:
        """Interrupt the job of that number if it runs, or refuse it when it comes; whether it runs.

        A cancellation travels faster than a task and may arrive first. With `is_over` the task
        will not run again: what it has written so far is its work.
        """
        with self._lock:
            self._cancelled, self._is_over = number, is_over
            if self._job is None or self._job.number != number:
                return False
            client = self._seat.client
        if client is not None:
            client.cancel()
        return True

    def hold(self, number: int, *, at_most_s: float, waited_s: float) -> None:
        """The gateway holds a request of that job: its time stands still (`ClaudeClient.hold`)."""
        if client := self._client_of(number):
            client.hold(_GATEWAY, at_most_s=at_most_s, waited_s=waited_s)

    def go_on(self, number: int) -> None:
        """The gateway holds nothing of that job any more."""
        if client := self._client_of(number):
            client.go_on(_GATEWAY)

    def _client_of(self, number: int) -> ClaudeClient | None:
        with self._lock:
            is_it = self._job is not None and self._job.number == number
            return self._seat.client if is_it else None

    def on_event(self, event: dict[str, Any]) -> None:
        """Take an event of the CLI, in its reader's thread: keep it, and tell what it means."""
        job = self._job
        if job is None:
            return
        self._talk.note(event)
        if event.get("type") == "assistant":
            if event.get("error"):
                self._api_error = str(event["error"])
            else:
                self._note_move(job)
        if self._transcripts is not None:
            path = self._transcripts / f"{job.task.task_id}.jsonl"
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, separators=(",", ":")) + "\n")
        if text := summarize(event):
            self._progress(job.task.task_id, text)

    def _note_move(self, job: Job) -> None:
        """Whoever takes the task up goes on in the new conversation, now that there is something.

        Until then the old one is all there is to go on with.
        """
        if self._fresh is not None and self._opened is not None:
            # All of its transcript is this task's.
            self._opened.workspace.mark(job.task.task_id, 0)
            self._moved(job.task.task_id, self._fresh)
            self._fresh = None

    def run(self, job: Job) -> TaskResult:
        """The job's result; failures that are the task's own are results too.

        Raises:
            ClaudeError, PodmanError: the container or the CLI is lost; the task may run again.
        """
        started = self._clock()
        with self._lock:
            self._job, self._opened, self._talk = job, None, TalkSoFar()
            self._fresh = None
        try:
            result = self._attempt(job, started)
        except ContextGone as error:
            result = self._failed(job, FailureKind.CONTEXT_GONE, str(error))
        except (SessionHeld, SessionLockDamaged) as error:
            result = self._failed(job, FailureKind.CONVERSATION, str(error))
        except WorkspaceError as error:
            result = self._failed(job, FailureKind.WORKSPACE, str(error))
        except TurnCancelled:
            result = self._failed(job, FailureKind.CANCELED, "canceled while it ran")
            if self._is_over:
                self._save_work(job.task, result)
        except TurnTimeout:
            limit = f"not done within its timeout of {job.task.timeout:g} s of work"
            result = self._failed(job, FailureKind.TIMEOUT, limit, status="timeout")
            self._save_work(job.task, result)
        finally:
            with self._lock:
                self._job = None
        if self._opened and (not_taken := self._opened.workspace.not_taken()):
            result.result["not_taken"] = not_taken
        result.execution_time = self._clock() - started
        result.attempts = job.attempt
        return result

    def _attempt(self, job: Job, started: float) -> TaskResult:
        """The task in its conversation, or in a clean one when that cannot be gone on with."""
        self._seat.has_more_memory = job.more_memory
        self._opened = opened = self._seat.open(job.task, job.conversation)
        if not opened.resumes:
            return self._turn(job, opened, started)
        try:
            result = self._turn(job, opened, started)
        except ClaudeDied:
            if lost_cli(self._seat) is not FailureKind.CONVERSATION:
                raise
        else:
            if result.failure_kind != FailureKind.CONVERSATION:
                return result
        if job.task.context_id is not None:
            raise ContextGone(job.task.context_id)
        self._opened = opened = self._seat.open(job.task, job.conversation, anew=True)
        return self._turn(job, opened, started)

    def _prompt(self, job: Job, opened: Opened) -> str:
        """What the agent is told; its workspace is as it must be then."""
        task, role, workspace = job.task, self._roles.type_of(job.task), opened.workspace
        if opened.trace is not None:
            return going_on(opened.trace.in_flight)
        if opened.continues:
            workspace.stage_beside(task)
            names = workspace.names(MAX_NAMES)
        else:
            names = [str(file.relative) for file in workspace.stage(task)]
        if not role.read_only:
            workspace.baseline()
        workspace.mark(task.task_id, transcript_size(workspace.home_dir, opened.session_id))
        prompt = self._request(task, workspace, names)
        if opened.continues:
            return in_an_earlier_context(prompt)
        return after_a_cut(prompt) if job.may_have_run else prompt

    def _request(self, task: Task, workspace: Workspace, names: list[str]) -> str:
        """What the task is, with the files of these names; and what is not there."""
        prompt = self._roles.type_of(task).prompt(task, names)
        return without(prompt, workspace.not_taken())

    def _turn(self, job: Job, opened: Opened, started: float) -> TaskResult:
        task, role, workspace = job.task, self._roles.type_of(job.task), opened.workspace
        prompt = self._prompt(job, opened)
        event = self._say(job, prompt, started)
        if self._is_full(event) and (opened.resumes or self._talk.has_answers):
            event = self._with_room(job, workspace, started)
        result = self._read_result(job, role, event)
        if not role.read_only:
            self._take_work(workspace, task, result)
        return result

    def _say(self, job: Job, text: str, started: float) -> dict[str, Any]:
        """One turn of the CLI within the task's time; the event that ended it."""
        client = self._seat.ready_client()
        before_usd, self._api_error = client.total_cost_usd, None
        left_s = job.task.timeout - (self._clock() - started)
        if left_s <= 0:
            raise TurnTimeout(job.task.timeout)
        begun = self._clock()
        with self._saved_meanwhile(job.task.task_id):
            event = client.run_turn(
                text,
                timeout_s=left_s,
                stall_s=self._stall_s,
                cancelled=lambda: self._cancelled == job.number,
            )
        _log.debug("the CLI's turn took %.6f s", self._clock() - begun)
        self._talk.count(event, cost_delta(before_usd, event))
        return event

    def _saved_meanwhile(self, task_id: str) -> AbstractContextManager[None]:
        if self._saving is None or self._opened is None:
            return nullcontext()
        return self._saving.during(self._opened.workspace, task_id)

    def _is_full(self, event: dict[str, Any]) -> bool:
        kind = classify_result(event, self._api_error, needs_structured=False)
        return kind is FailureKind.CONTEXT_FULL

    def _with_room(self, job: Job, workspace: Workspace, started: float) -> dict[str, Any]:
        """The task gone on with in a conversation that has room again, each way tried once.

        The CLI sums the conversation up; where it cannot, or that is not enough, a new one begins
        in the same workspace, told what is known of the old.
        """
        role = self._roles.type_of(job.task)
        said = self._talk.last_said()
        self._progress(job.task.task_id, "the conversation is full: it is summed up")
        self._say(job, "/compact", started)
        if self._talk.compacted:
            prompt = self._request(job.task, workspace, workspace.names(MAX_NAMES))
            event = self._say(job, summed_up(prompt), started)
            if not self._is_full(event):
                return event
        self._progress(job.task.task_id, "the conversation is full: a new one begins")
        self._fresh = self._seat.begin_anew()
        changed = [] if role.read_only else workspace.diff().files_changed
        prompt = self._request(job.task, workspace, workspace.names(MAX_NAMES))
        return self._say(job, grown_too_long(prompt, changed, said), started)

    def _take_work(self, workspace: Workspace, task: Task, result: TaskResult) -> None:
        """Put the workspace's changes in the result and, where there is git, on a branch."""
        try:
            if not note_changes(workspace, result):
                return
        except WorkspaceError as error:
            result.status, result.error = "failed", str(error)
            result.failure_kind = FailureKind.WORKSPACE.value
            result.result["work_error"] = str(error)
            return
        if result.failure_kind in _CUT_SHORT:
            result.status = "partial"
        kind = result.failure_kind
        if kind is not None and POLICIES[FailureKind(kind)].requeue:
            return  # it runs again; when it does not, the sweep makes the branch
        put_on_branch(workspace, task, result, self._saving)

    def _save_work(self, task: Task, result: TaskResult) -> None:
        """Keep what was written before the turn was ended."""
        workspace = self._opened.workspace if self._opened else None
        mark = workspace.marked() if workspace else None
        if workspace is None or not workspace.has_baseline or mark is None:
            return
        if mark[0] == task.task_id:  # else the turn had not begun
            save_work(workspace, task, result, self._saving)

    def _read_result(self, job: Job, role: TaskType, event: dict[str, Any]) -> TaskResult:
        kind = classify_result(event, self._api_error, needs_structured=role.schema is not None)
        return TaskResult(
            task_id=job.task.task_id,
            agent_id=self._agent_id,
            status="success" if kind is None else "failed",
            result=_output(role, job.task, event) if kind is None else {},
            error=None if kind is None else _explain(kind, event),
            failure_kind=None if kind is None else kind.value,
            usage=self._talk.usage.to_dict(),
            cost_usd=self._talk.cost_usd,
            context_id=event.get("session_id"),
        )

    def _failed(
        self, job: Job, kind: FailureKind, error: str, *, status: str = "failed"
    ) -> TaskResult:
        return TaskResult(
            task_id=job.task.task_id,
            agent_id=self._agent_id,
            status=status,
            result={},
            error=error,
            failure_kind=kind.value,
        )


def _output(role: TaskType, task: Task, event: dict[str, Any]) -> dict[str, Any]:
    if role.schema is None:
        return {"output": str(event.get("result", ""))}
    return role.result(event["structured_output"], task)


def _explain(kind: FailureKind, event: dict[str, Any]) -> str:
    """What happened and, where somebody can do something about it, what."""
    mend = POLICIES[kind].mend
    return f"{_said(kind, event)} ({mend})" if mend else _said(kind, event)


def _said(kind: FailureKind, event: dict[str, Any]) -> str:
    if kind is FailureKind.SCHEMA_MISSED:
        said = str(event.get("result", ""))[:300]
        return f"the agent ended its turn without the structured result; it said: {said!r}"
    text = str(event.get("result") or "") or "; ".join(map(str, event.get("errors") or []))
    return text or kind.value
