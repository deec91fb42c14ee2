"""The watches of one process: who here is told of whose end, here or elsewhere."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pykka

from understudy.transport.errors import TransportError
from understudy.transport.pykka_parts import Envelope

from .actor_errors import SystemClosed
from .events import ExitReason
from .notices import Notice
from .running import explain_stop
from .watch import Death, Down

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.transport.address import Address
    from understudy.transport.adopt import StopEvent
    from understudy.transport.inbox import ActorInbox
    from understudy.transport.node_base import NodeBase

_log = logging.getLogger(__name__)

_DEAD = ExitReason("unknown", detail="it was dead already")

Pair = tuple[str, str, bool]
"""Who watches, whom, and whether they are linked."""


@dataclass(frozen=True)
class Watch:
    """One watch: the ref that was given, and what takes the `Down`."""

    ref: pykka.ActorRef[Any]
    key: str
    deliver: Callable[[Down], None]


class Watching:
    """Keeps the watches of this process; the root knows of each. Any thread.

    Args:
        node: of this process.
        tell_root: passes a word on to the root.
        listen: has the end of a living actor of this process told to the root.
    """

    def __init__(
        self,
        node: NodeBase,
        tell_root: Callable[[str, dict[str, Any]], None],
        listen: Callable[[Address], bool],
    ) -> None:
        self._node = node
        self._tell_root = tell_root
        self._listen = listen
        self._lock = threading.Lock()
        self._serial = itertools.count(node.incarnation << 32)
        self._watches: dict[int, Watch] = {}
        self._pairs: dict[Pair, int] = {}

    def watch(
        self, ref: pykka.ActorRef[Any], callback: Callable[[Down], None]
    ) -> Callable[[], None]:
        """See `SystemMember.watch`."""
        number = self._begin(ref, callback)
        return lambda: self._cancel(number)

    def watch_for(
        self, watcher: pykka.ActorRef[Any], ref: pykka.ActorRef[Any], *, is_link: bool
    ) -> None:
        """See `Actor.watch` and `Actor.link`."""
        pair = (watcher.actor_urn, ref.actor_urn, is_link)
        with self._lock:
            if pair in self._pairs:
                return
            number = self._pairs[pair] = next(self._serial)

        def is_due() -> bool:
            with self._lock:
                return self._pairs.get(pair) == number and bool(self._pairs.pop(pair))

        def deliver(down: Down) -> None:
            inbox = cast("ActorInbox", watcher.actor_inbox)
            inbox.put_control(Envelope(Notice(down, is_link, is_due)))

        self._begin(ref, deliver, number)

    def unwatch_for(
        self, watcher: pykka.ActorRef[Any], ref: pykka.ActorRef[Any], *, is_link: bool
    ) -> None:
        """See `Actor.unwatch`."""
        with self._lock:
            number = self._pairs.pop((watcher.actor_urn, ref.actor_urn, is_link), None)
        if number is not None:
            self._cancel(number)

    def drop(self, urn: str) -> None:
        """An actor of this process has ended, and with it its watches."""
        with self._lock:
            pairs = [pair for pair in self._pairs if pair[0] == urn]
            numbers = [self._pairs.pop(pair) for pair in pairs]
        for number in numbers:
            self._cancel(number)

    def take_down(self, numbers: list[int], death: Death) -> None:
        """The root says that what these watch has ended."""
        for number in numbers:
            with self._lock:
                watch = self._watches.pop(number, None)
            if watch is not None:
                _deliver(watch, death)

    def report_end(self, ref: pykka.ActorRef[Any], report: Callable[[ExitReason], None]) -> None:
        """Have the end of an actor of this process reported that no system started."""
        stopped = cast("StopEvent", ref.actor_stopped)
        stopped.listen(lambda why: report(explain_stop(why)))

    # -- inside -------------------------------------------------------------------------------

    def _begin(
        self,
        ref: pykka.ActorRef[Any],
        deliver: Callable[[Down], None],
        number: int | None = None,
    ) -> int:
        number = number or next(self._serial)
        address = self._address(ref)
        watch = Watch(ref, address.key if address else str(ref), deliver)
        with self._lock:
            self._watches[number] = watch
        try:
            if address is not None:
                if address.node == self._node.name:
                    # Now, and not when the root asks for it: it might end in between.
                    self._listen(address)
                payload = {"watch": number, "address": address.to_wire()}
                self._tell_root("watch", payload)
                return number
        except (TransportError, SystemClosed):
            _log.debug("no root to watch %s: it ends with it", ref, exc_info=True)
        self.take_down([number], Death(watch.key, 0, _DEAD))
        return number

    def _address(self, ref: pykka.ActorRef[Any]) -> Address | None:
        try:
            return self._node.address(ref)
        except pykka.ActorDeadError:
            return None

    def _cancel(self, number: int) -> None:
        with self._lock:
            watch = self._watches.pop(number, None)
        if watch is not None:
            with contextlib.suppress(TransportError, SystemClosed):
                self._tell_root("unwatch", {"watch": number, "target": watch.key})


def _deliver(watch: Watch, death: Death) -> None:
    down = Down(watch.ref, death.exit.kind, death.exit, death.incarnation)
    try:
        watch.deliver(down)
    except Exception:  # noqa: BLE001 - one bad callback must not cost the others theirs
        _log.exception("the callback for the end of %s failed", watch.ref)
