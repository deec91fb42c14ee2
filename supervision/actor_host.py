"""The life of a process that was made for one actor; a child of the root's fork server."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, cast

import pykka

from understudy.transport.node import Node
from understudy.transport.remote import RemoteRef

from .actor_errors import ActorStartFailed
from .loading import load_class, unpack_arguments
from .member import SystemMember

if TYPE_CHECKING:
    from .context import ChildContext
    from .running import RunningActor

_log = logging.getLogger(__name__)

# Longer than any process takes to start: the real limit is the child spec's `start_timeout_s`.
_ON_START_S = 3600.0
_INNER_STOP_S = 5.0


def main(context: ChildContext) -> None:
    """Be the process of the actor that `context.args` describes, until the actor has ended.

    Its exit says how: code 0 for an orderly end, else the error is told to the supervisor.
    """
    args = context.args
    actor_class = load_class(args["class"])
    # Who asks for the actor meanwhile waits until it is there.
    node = Node(
        args["actor_id"],
        args["folder"],
        incarnation=context.incarnation,
        codec=args["codec"],
        is_accepting=False,
    )
    system = HostedSystem(args["system"], node)
    system.restartable(args["restartable"])
    try:
        positional, named = unpack_arguments(args["arguments"], node.ref)
        running = _start(system, context, actor_class, positional, named)
        _run(context, running)
    finally:
        system.close()
        node.flush()
        node.close()
    _exit_as_it_ended(running)


class HostedSystem(SystemMember):
    """The system in a process other than the root's."""

    def accept(self) -> None:
        """The actor is there: others may come in."""
        cast("Node", self._node).accept()

    def restartable(self, peers: list[str]) -> None:
        """These processes are started again when they fall."""
        self._restartable.update(peers)

    def close(self) -> None:
        """End what else runs in this process, the latest first; not what is elsewhere."""
        local = [r for r in pykka.ActorRegistry.get_all() if not isinstance(r, RemoteRef)]
        for ref in reversed(local):
            with contextlib.suppress(pykka.Timeout):
                ref.stop(block=True, timeout=_INNER_STOP_S)
        self._close_member()


def _start(
    system: HostedSystem,
    context: ChildContext,
    actor_class: type[pykka.Actor],
    positional: list[Any],
    named: dict[str, Any],
) -> RunningActor:
    try:
        return system.run_actor(
            actor_class, positional, named, context.args, _ON_START_S, on_hosted=system.accept
        )
    except ActorStartFailed as error:
        _log.critical("actor %s", context.args["name"], exc_info=True)
        raise SystemExit(error.detail) from error


def _run(context: ChildContext, running: RunningActor) -> None:
    def stop() -> None:
        running.ref.stop(block=False)

    context.set_liveness(running.ping)
    context.ready({"address": running.address.to_wire()})
    context.on_stop(stop)
    running.wait_gone(None)


def _exit_as_it_ended(running: RunningActor) -> None:
    end = running.exit
    if end.kind != "normal":
        raise SystemExit(end.detail)
