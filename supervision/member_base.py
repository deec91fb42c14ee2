"""How one process of an actor system talks with the root, and what it does for it."""

from __future__ import annotations

import contextlib
import itertools
import logging
from typing import TYPE_CHECKING, Any

from understudy.transport.address import Address
from understudy.transport.errors import NodeError, TransportError
from understudy.transport.failures import register_exception
from understudy.transport.future import AskFuture

from . import actor_errors, dead_letters, errors
from .actor_errors import ActorStartFailed, SystemClosed
from .errors import SupervisionError
from .events import ExitReason
from .telling import WAIT_TELLER
from .watch import Death
from .watching import Watching

if TYPE_CHECKING:
    from understudy.transport.node_base import NodeBase

    from .running import RunningActor

_log = logging.getLogger(__name__)

VERB = "understudy.system"
"""The control messages of a system."""
ROOT = "root"
"""The name of the root's node."""

# These may be answers to what an actor was asked, and come out there as what they are.
for _kind in vars(actor_errors).values():
    if isinstance(_kind, type) and issubclass(_kind, SupervisionError):
        register_exception(_kind)

INCARNATION_SHIFT = 32
"""What a request's number begins with, from this bit on, is the incarnation of its process."""
REQUEST_S = 10.0
"""How long the root may take for an answer."""
_MONITORED = 10_000


class MemberBase:
    """The part of a `SystemMember` that is no concern of users.

    Args:
        name: of the system.
        node: of this process.
    """

    def __init__(self, name: str, node: NodeBase) -> None:
        self.name = name
        self._node = node
        # No number of an older incarnation comes again: an answer to that may be on its way.
        self._requests = itertools.count(node.incarnation << INCARNATION_SHIFT)
        self._answers: dict[int, AskFuture] = {}
        self._running: dict[str, RunningActor] = {}
        self._restartable: set[str] = set()
        self._monitored: dict[str, None] = {}
        self._is_closed = False
        self._watching = Watching(node, self._tell_root, self._listen)
        node.on_control(VERB, self._take)
        dead_letters.answer_for(node)
        node.will_restart = lambda peer: peer in self._restartable

    def tell_wait(self, record: dict[str, Any]) -> None:
        """Pass on that an actor of this process waits, or waits no more."""
        with contextlib.suppress(TransportError, SystemClosed):
            self._tell_root(record.pop("op"), record)

    @property
    def node(self) -> NodeBase:
        """This process among its peers."""
        return self._node

    def _forget(self, urn: str) -> None:
        self._running.pop(urn, None)
        WAIT_TELLER.discard(urn)
        self._watching.drop(urn)

    def _tell_died(self, address: Address, end: ExitReason) -> None:
        death = Death(address.key, address.incarnation, end)
        with contextlib.suppress(TransportError, SystemClosed):
            self._tell_root("died", death.to_wire())

    # -- what the root says -------------------------------------------------------------------

    def _take(self, _peer: str, _incarnation: int, payload: dict[str, Any]) -> None:
        """In the service thread, or the root's desk: must not block."""
        op: str = payload.get("op", "")
        match op:
            case "answer":
                self._take_answer(payload)
            case "down":
                self._watching.take_down(payload["watches"], Death.from_wire(payload["death"]))
            case "monitor":
                self._monitor(Address.from_wire(payload["address"]))
            case "peer":
                self._take_peer(payload)
            case "confirm":
                held = [self._is_held(*which) for which in payload["held"]]
                lasting = [WAIT_TELLER.is_waiting(corr) for corr in payload["waiting"]]
                is_so = all(held) and all(lasting)
                self._tell_root("confirmed", {"round": payload["round"], "is_so": is_so})
            case "fail":
                WAIT_TELLER.fail(payload["corr"], tuple(payload["cycle"]))
            case "link" | "unlink":
                self._take_link(op, payload)
            case _:
                _log.debug("a word of a newer root is ignored: %r", op)

    def _take_answer(self, payload: dict[str, Any]) -> None:
        future = self._answers.pop(payload["id"], None)
        if future is None:
            return
        if payload.get("error") is None:
            future.set(payload.get("result"))
        else:
            future.fail(_rebuild(payload["error"]))

    def _take_peer(self, payload: dict[str, Any]) -> None:
        peer = payload["peer"]
        match payload["what"]:
            case "restartable":
                self._restartable.update(peer)
            case "restarted":
                self._node.peer_restarted(peer, payload["incarnation"])
            case "gone":
                self._restartable.discard(peer)
                self._node.peer_gone(peer, payload["reason"], at_once=payload["at_once"])
            case what:
                _log.debug("a word of a newer root is ignored: %r", what)

    def _monitor(self, address: Address) -> None:
        """The root wants to know when an actor ends that no system started."""
        if not self._listen(address) and address.key not in self._monitored:
            self._tell_died(address, ExitReason("unknown", detail="it was dead already"))

    def _listen(self, address: Address) -> bool:
        """See to it that the root is told of an actor's end; whether it lives."""
        hosted = self._node.hosting.find(address.actor_id)
        if hosted is None:
            return False
        if hosted.ref.actor_urn not in self._running and address.key not in self._monitored:
            self._monitored[address.key] = None
            if len(self._monitored) > _MONITORED:
                del self._monitored[next(iter(self._monitored))]
            self._watching.report_end(hosted.ref, lambda end: self._tell_died(address, end))
        return True

    def _is_held(self, peer: str, corr: int, actor_id: str) -> bool:
        """Whether a request of a peer, or of this process, is here and not answered yet."""
        if peer == self._node.name:
            return WAIT_TELLER.is_waiting(corr)
        hosted = self._node.hosting.find(actor_id)
        return hosted is not None and hosted.inbox.holds(peer, corr)

    def _take_link(self, op: str, payload: dict[str, Any]) -> None:
        hosted = self._node.hosting.find(payload["actor_id"])
        if hosted is not None and hasattr(hosted.ref.actor_class, "trap_links"):
            watching = self._watching
            set_other = watching.watch_for if op == "link" else watching.unwatch_for
            other = self._node.ref(Address.from_wire(payload["other"]))
            set_other(hosted.ref, other, is_link=True)

    # -- talking to the root ------------------------------------------------------------------

    def _send(self, peer: str, payload: dict[str, Any]) -> None:
        if peer == self._node.name:
            self._take(peer, self._node.incarnation, payload)
        else:
            self._node.cast(peer, VERB, payload)

    def _tell_root(self, op: str, payload: dict[str, Any]) -> None:
        self._node.cast(ROOT, VERB, {"op": op, **payload})

    def _request(self, op: str, payload: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if self._is_closed:
            raise SystemClosed(self.name)
        number = next(self._requests)
        future = self._answers[number] = AskFuture()
        # Who waits does the node's work meanwhile.
        future.parking = self._node
        try:
            self._tell_root(op, {"id": number, **payload})
            return future.get(timeout=timeout_s) or {}
        except NodeError as error:
            raise SystemClosed(self.name) from error
        finally:
            self._answers.pop(number, None)

    def _close_member(self) -> None:
        self._is_closed = True
        for future in list(self._answers.values()):
            future.fail(SystemClosed(self.name))
        for urn in list(self._running):
            self._forget(urn)


def _rebuild(error: dict[str, Any]) -> Exception:
    kind = getattr(actor_errors, error["type"], None) or getattr(errors, error["type"], None)
    args: list[Any] = error["args"]
    # A tuple travels as a list.
    values = [tuple(arg) if arg.__class__ is list else arg for arg in args]
    return ActorStartFailed("?", str(values)) if kind is None else kind(*values)
