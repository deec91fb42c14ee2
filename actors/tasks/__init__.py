"""The task model, its types, its queue and its store.

Only the model is loaded with the package: an agent's process needs neither queue nor database.
"""

from __future__ import annotations

from .task import Task, TaskResult, TaskState, subtasks_of
from .validate import InvalidTask

__all__ = ["InvalidTask", "Task", "TaskResult", "TaskState", "subtasks_of"]
