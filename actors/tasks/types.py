"""The task types: what an agent is told, what it may use, and what it hands in.

The shape that the model fills is made of lists, which models fill well; `TaskType.result` turns it
into the shape that users of the library get, keyed by file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from . import prompts, results, schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .task import Task

READING_TOOLS = ("Read", "Grep", "Glob")
WRITING_TOOLS = ("Bash", "Read", "Edit", "Write", "Grep", "Glob")
ACTING_TOOLS = frozenset({"Bash", "Edit", "NotebookEdit", "Write"})


@dataclass(frozen=True)
class Manner:
    """How a role does a task type. None is what holds for all agents.

    Attributes:
        role: its name; None: no role does it.
        asks: whether each call that acts needs somebody's yes.
        permission_s: how long such a call waits for it; then it is denied.
        denied: the CLI's rules for calls that are refused whatever else is allowed.
        team_tools: by which its agent reaches the others.
        delegates_freely: what it gives away is not bound to what it may do itself.
        withheld: what the giver of a task took away from it; see `actors/team/rights.py`.
    """

    role: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    max_turns: int | None = None
    memory: str | None = None
    cpus: str | None = None
    image: str | None = None
    asks: bool = False
    permission_s: float = 300.0
    denied: tuple[str, ...] = ()
    team_tools: tuple[str, ...] = ()
    delegates_freely: bool = False
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskType:
    """One kind of work.

    Attributes:
        name: as in `Task.task_type`.
        description: one line for the user's help.
        tools: the CLI's tools it may use.
        schema: the JSON schema of what the model hands in; None is free text.
        prompt: the prompt for a task whose files lie below `/work` under the given names.
        result: from what the model handed in to what the task's result promises.
        summarize: a result in one line.
        manner: what a role adds; see `actors/team/roles.py`.
    """

    name: str
    description: str
    tools: tuple[str, ...]
    schema: dict[str, Any] | None
    prompt: Callable[[Task, list[str]], str]
    result: Callable[[Mapping[str, Any], Task], dict[str, Any]]
    summarize: Callable[[Mapping[str, Any]], str]
    manner: Manner = field(default_factory=Manner)

    @property
    def key(self) -> str:
        """What tells it from all others: the task type, the role if one does it, what it lacks."""
        key = f"{self.name}@{self.manner.role}" if self.manner.role else self.name
        return "!".join([key, *self.manner.withheld])

    @property
    def read_only(self) -> bool:
        """Whether its workspace is mounted read-only and yields no diff."""
        return not ACTING_TOOLS.intersection(self.tools)

    @property
    def reusable(self) -> bool:
        """Whether its container may be cleaned for the next task instead of being replaced.

        What cannot run commands nor write leaves nothing behind but the CLI's own files.
        """
        return self.read_only


_ALL = (
    TaskType(
        name="code_review",
        description="find bugs and weaknesses in files, without changing them",
        tools=READING_TOOLS,
        schema=schemas.CODE_REVIEW,
        prompt=prompts.code_review,
        result=results.code_review,
        summarize=results.summarize_review,
    ),
    TaskType(
        name="refactor",
        description="improve the structure of files, and keep what they do",
        tools=WRITING_TOOLS,
        schema=schemas.REFACTOR,
        prompt=prompts.refactor,
        result=results.refactor,
        summarize=results.summarize_refactor,
    ),
    TaskType(
        name="test_generation",
        description="write tests for files",
        tools=WRITING_TOOLS,
        schema=schemas.TEST_GENERATION,
        prompt=prompts.test_generation,
        result=results.test_generation,
        summarize=results.summarize_tests,
    ),
    TaskType(
        name="analysis",
        description="answer a question about code, without changing it",
        tools=READING_TOOLS,
        schema=schemas.ANALYSIS,
        prompt=prompts.analysis,
        result=results.analysis,
        summarize=results.summarize_analysis,
    ),
    TaskType(
        name="question",
        description="answer a question in plain text, without changing anything",
        tools=READING_TOOLS,
        schema=None,
        prompt=prompts.question,
        result=results.generic,
        summarize=results.summarize_generic,
    ),
    TaskType(
        name="generic",
        description="anything: do what the description says",
        tools=WRITING_TOOLS,
        schema=None,
        prompt=prompts.generic,
        result=results.generic,
        summarize=results.summarize_generic,
    ),
)

TASK_TYPES: Mapping[str, TaskType] = MappingProxyType({each.name: each for each in _ALL})
