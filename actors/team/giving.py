"""The tasks that agents give to each other: within what the giver's own task may do."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..claude.backend import TaskRefused, UnknownAgent
from ..tasks.task import Task
from ..tasks.validate import InvalidTask, nearest_of
from .rights import EGRESS, WRITE, withheld_from

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..settings import Settings
    from .roles import Roles

_WORK = "/work"
# Without tools that write there is nothing that these could do.
_WRITING_TYPES = ("refactor", "test_generation")


@dataclass(frozen=True)
class TeamLimits:
    """How much agents may give to each other.

    Attributes:
        max_depth: how many times over: a task given away in a task that was given away has 2.
        max_tasks: in one task of a user's and all below it.
        inbox_size: how many unread messages an agent may have.
        priority_levels: the most urgent priority.
    """

    max_depth: int = 3
    max_tasks: int = 20
    inbox_size: int = 100
    priority_levels: int = 10

    @classmethod
    def of(cls, settings: Settings) -> TeamLimits:
        """The limits that the settings name."""
        team, levels = settings.team, settings.task_queue.priority_levels
        return cls(team.max_depth, team.max_tasks, team.inbox_size, levels)


class Giver:
    """Makes such tasks; it sends and stores nothing.

    Args:
        agents: the names of all agents.
    """

    def __init__(self, roles: Roles, agents: Collection[str], limits: TeamLimits) -> None:
        self._roles = roles
        self._agents = agents
        self._limits = limits

    def question(self, parent: Task, giver: str, asked: dict[str, Any], left_s: float) -> Task:
        """The task in which another agent answers a question.

        It is as urgent as can be: an agent stands still until it is answered.

        Args:
            parent: what the asker works on.
            giver: the asker.
            asked: the tool's arguments.
            left_s: how long the asker may still work.

        Raises:
            UnknownAgent, TaskRefused: it cannot be given.
        """
        return self._made(
            parent,
            giver,
            asked,
            task_type="question",
            description=str(asked["question"]),
            priority=self._limits.priority_levels,
            timeout=max(1.0, min(float(asked["timeout_s"]), left_s)),
            is_ask=True,
        )

    def delegated(self, parent: Task, giver: str, asked: dict[str, Any]) -> Task:
        """The task that an agent gives away; the arguments are those of `question`.

        Raises:
            UnknownAgent, TaskRefused: it cannot be given.
        """
        return self._made(
            parent,
            giver,
            asked,
            task_type=str(asked["task_type"]),
            description=str(asked["description"]),
            priority=parent.priority,
            timeout=parent.timeout,
        )

    def check_room(self, depth: int, given: int) -> None:
        """Refuse one more task at that depth, when so many were given in its family.

        Raises:
            TaskRefused: it would be too deep, or one too many.
        """
        limits = self._limits
        if depth > limits.max_depth:
            reason = (
                f"your own task was given away {depth - 1} times over, and it goes no deeper "
                "(team.max_depth). Do it yourself"
            )
            raise TaskRefused(reason)
        if given >= limits.max_tasks:
            reason = (
                f"{given} tasks were asked and delegated below your user's task, and there may be "
                "no more (team.max_tasks). Go on with what you have"
            )
            raise TaskRefused(reason)

    def _made(self, parent: Task, giver: str, asked: dict[str, Any], **fields: Any) -> Task:  # noqa: ANN401 - of a task
        agent, role = self._whom(asked.get("to"))
        files = [_within(parent, name) for name in asked.get("files") or ()]
        task = Task(
            files=files,
            repo=parent.repo if files else None,
            include_uncommitted=parent.include_uncommitted,
            include_untracked=parent.include_untracked,
            role=role,
            agent=agent,
            parent=parent.task_id,
            given_by=giver,
            withheld=withheld_from(self._roles.type_of(parent), parent.withheld),
            **fields,
        )
        self._check(task)
        if self._roles.hosts_of(task) - self._roles.hosts_of(parent):
            self._withhold_egress(task, parent)
        return task

    def _withhold_egress(self, task: Task, parent: Task) -> None:
        if not self._roles.type_of(parent).manner.delegates_freely:
            task.withheld = list(dict.fromkeys([*task.withheld, EGRESS]))

    def _whom(self, to: str | None) -> tuple[str | None, str | None]:
        """The agent, or the role, of that name."""
        if to is None:
            return None, None
        if to in self._agents:
            return to, None
        if to in self._roles.names:
            return None, to
        raise UnknownAgent(to, nearest_of(to, [*self._agents, *self._roles.names]))

    def _check(self, task: Task) -> None:
        if WRITE in task.withheld and task.task_type in _WRITING_TYPES:
            reason = (
                f"your own task may only read, so what you give away may not write, and a "
                f"{task.task_type} would. Give away a code_review, an analysis or a question"
            )
            raise TaskRefused(reason)
        try:
            task.check(self._limits.priority_levels)
            self._roles.check(task, self._agents)
        except InvalidTask as error:
            raise TaskRefused(str(error)) from None


def _within(parent: Task, name: str) -> str:
    """The path, as the user's folder has it, of a file that the parent has.

    Raises:
        TaskRefused: the parent does not have it.
    """
    path = posixpath.normpath(posixpath.join(_WORK, name))
    inside = posixpath.relpath(path, _WORK)
    given = [_inside(file, parent.repo) for file in parent.files]
    if parent.repo is not None and not given:
        given = ["."]
    if not any(_holds(folder, inside) for folder in given):
        there = ", ".join(given[:10]) or "no files"
        reason = f"{name!r} is not among the files that your own task was given ({there})"
        raise TaskRefused(reason)
    return inside


def _inside(file: str, repo: str | None) -> str:
    """A file's path below `/work`, where it is staged by its path inside of the folder."""
    return posixpath.relpath(posixpath.join(repo or "/", file), repo or "/")


def _holds(folder: str, path: str) -> bool:
    if path == ".." or path.startswith("../"):
        return False
    return folder in (".", path) or path.startswith(f"{folder}/")
