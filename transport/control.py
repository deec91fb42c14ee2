"""Control messages between nodes: a verb and a payload, before what waits in any mailbox."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import failures, wire
from .errors import ActorLost, DecodeError, EncodeError, NodeError
from .outlet import LinkClosed

if TYPE_CHECKING:
    from .future import AskFuture
    from .node_base import NodeBase
    from .session import Session

_log = logging.getLogger(__name__)

Handler = Callable[[str, int, dict[str, Any]], dict[str, Any] | None]

_TRIES = 3


class Control:
    """The handlers of one node, and the sending to others'.

    Args:
        node: whose it is.
    """

    def __init__(self, node: NodeBase) -> None:
        self._node = node
        self._handlers: dict[str, Handler] = {}

    def on(self, verb: str, handler: Handler) -> None:
        """Have it called for this verb."""
        self._handlers[verb] = handler

    def send(self, peer: str, record: tuple[Any, ...], future: AskFuture | None) -> None:
        """Send a cast, or a call whose answer the future gets.

        Raises:
            NodeError: the peer cannot be reached.
        """
        limit_s = self._node.clock() + self._node.limits.send_timeout_s
        for _ in range(_TRIES):
            try:
                session = self._node.session(peer, f"node {peer!r}", limit_s)
                session.post_ask(record, future)
            except ActorLost as error:
                raise NodeError(peer, error.reason) from error
            except LinkClosed:
                continue
            return
        raise NodeError(peer, "its links end as soon as they are made")

    def take(self, session: Session, record: list[Any]) -> None:
        """Deal with one that came. In the thread that reads; the handler is called in another.

        Raises:
            DecodeError, LookupError: it is not what the protocol says.
        """
        verb, payload = str(record[1]), record[2]
        corr, until_s = (record[3], record[4]) if record[0] == wire.CALL else (0, 0.0)
        if not (isinstance(corr, int) and isinstance(until_s, float)):
            raise DecodeError("a call has no number or no deadline")
        self._node.call_soon(lambda: self._handle(session, verb, payload, corr, until_s))

    def _handle(
        self, session: Session, verb: str, payload: dict[str, Any], corr: int, until_s: float
    ) -> None:
        if corr and until_s < self._node.clock():
            self._node.traffic.expired += 1
            return
        handler = self._handlers.get(verb) or self._unknown(verb)
        try:
            answer = handler(session.peer, session.incarnation, payload)
            if corr:
                self._answer(session, (wire.REPLY, corr, answer))
        except Exception as error:  # noqa: BLE001 - its caller is told
            self._node.traffic.handler_failed += 1
            _log.exception("the control verb %r of node %r failed", verb, session.peer)
            if corr:
                described = failures.to_wire(error, session.is_data)
                self._answer(session, (wire.ERROR, corr, described))

    def _unknown(self, verb: str) -> Handler:
        def refuse(_peer: str, _incarnation: int, _payload: dict[str, Any]) -> None:
            raise NodeError(self._node.name, f"it knows no control verb {verb!r}")

        return refuse

    def _answer(self, session: Session, record: tuple[Any, ...]) -> None:
        try:
            session.post(record, now=True)
        except LinkClosed:
            self._node.traffic.answers_dropped += 1
        except EncodeError as error:
            described = failures.to_wire(error, session.is_data)
            session.post((wire.ERROR, record[1], described), now=True)
