"""A fleet of headless Claude Code agents, each a supervised actor with its own container.

Names are loaded when they are first used: the command line starts without what it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pykka import ActorDeadError as ActorDeadError

    from understudy.actors.agent import ClaudeAgent as ClaudeAgent
    from understudy.actors.claude.wrapper import AgentConfig as AgentConfig
    from understudy.actors.claude.wrapper import ClaudeCodeWrapper as ClaudeCodeWrapper
    from understudy.actors.errors import AgentError as AgentError
    from understudy.actors.events import TaskEvent as TaskEvent
    from understudy.actors.handle import TaskHandle as TaskHandle
    from understudy.actors.podman import CommandResult as CommandResult
    from understudy.actors.tasks.task import Task as Task
    from understudy.actors.tasks.task import TaskResult as TaskResult
    from understudy.actors.tasks.task import TaskState as TaskState
    from understudy.orchestrator import Orchestrator as Orchestrator
    from understudy.supervision.actor import Actor as Actor
    from understudy.supervision.actor_errors import ActorStartFailed as ActorStartFailed
    from understudy.supervision.member import current_system as current_system
    from understudy.supervision.system import ActorSystem as ActorSystem
    from understudy.supervision.watch import Down as Down
    from understudy.transport import DEAD_LETTERS as DEAD_LETTERS
    from understudy.transport import Agent2AgentProtocol as Agent2AgentProtocol
    from understudy.transport import AgentMessage as AgentMessage
    from understudy.transport import MessageType as MessageType
    from understudy.transport import Overflow as Overflow
    from understudy.transport import UnixSocketChannel as UnixSocketChannel
    from understudy.transport.errors import ActorRestarted as ActorRestarted
    from understudy.transport.errors import DeadlockError as DeadlockError
    from understudy.transport.errors import MailboxFull as MailboxFull
    from understudy.transport.errors import RemoteError as RemoteError
    from understudy.transport.mailbox_spec import MailboxSpec as MailboxSpec

    __version__: str

_PLACES = {
    "Actor": "understudy.supervision.actor",
    "ActorDeadError": "pykka",
    "ActorRestarted": "understudy.transport.errors",
    "ActorStartFailed": "understudy.supervision.actor_errors",
    "ActorSystem": "understudy.supervision.system",
    "Agent2AgentProtocol": "understudy.transport",
    "AgentConfig": "understudy.actors.claude.wrapper",
    "AgentError": "understudy.actors.errors",
    "AgentMessage": "understudy.transport",
    "ClaudeAgent": "understudy.actors.agent",
    "ClaudeCodeWrapper": "understudy.actors.claude.wrapper",
    "CommandResult": "understudy.actors.podman",
    "DEAD_LETTERS": "understudy.transport",
    "DeadlockError": "understudy.transport.errors",
    "Down": "understudy.supervision.watch",
    "MailboxFull": "understudy.transport.errors",
    "MailboxSpec": "understudy.transport.mailbox_spec",
    "MessageType": "understudy.transport",
    "Orchestrator": "understudy.orchestrator",
    "Overflow": "understudy.transport",
    "RemoteError": "understudy.transport.errors",
    "Task": "understudy.actors.tasks.task",
    "TaskEvent": "understudy.actors.events",
    "TaskHandle": "understudy.actors.handle",
    "TaskResult": "understudy.actors.tasks.task",
    "TaskState": "understudy.actors.tasks.task",
    "UnixSocketChannel": "understudy.transport",
    "current_system": "understudy.supervision.member",
}

__all__ = [
    "DEAD_LETTERS",
    "Actor",
    "ActorDeadError",
    "ActorRestarted",
    "ActorStartFailed",
    "ActorSystem",
    "Agent2AgentProtocol",
    "AgentConfig",
    "AgentError",
    "AgentMessage",
    "ClaudeAgent",
    "ClaudeCodeWrapper",
    "CommandResult",
    "DeadlockError",
    "Down",
    "MailboxFull",
    "MailboxSpec",
    "MessageType",
    "Orchestrator",
    "Overflow",
    "RemoteError",
    "Task",
    "TaskEvent",
    "TaskHandle",
    "TaskResult",
    "TaskState",
    "UnixSocketChannel",
    "__version__",
    "current_system",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    if name == "__version__":
        return import_module("understudy.version").VERSION
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'understudy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
