"""A node's links to its peers: made, greeted, replaced, ended."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import pykka

from . import wire
from .base import PeerEvent
from .errors import ActorLost, ActorRestarted, NodeError, PeerUnreachable
from .limits import DEFAULT_NODE_LIMITS, NodeLimits
from .outlet import LinkClosed
from .traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from .remote import RemoteRef
    from .session import Session

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_REDIAL_S = 0.01
_GONE = (errno.ENOENT, errno.ECONNREFUSED)
"""What a dial to a socket that nobody listens at comes to. All else passes."""
_LOOKS = 3
"""How often a link that ends is made again before anybody uses it."""


class Links:
    """The part of a node that knows its peers; subclasses give `_dial`, `_close_io`, `call_soon`.

    Each node sends to a peer over the link that it knew first, as long as that lives: so order is
    kept even where two nodes dial each other at the same moment and have two links.

    The end of a link says nothing of the peer: it is dialled again at once, and at the next use.
    Only where nobody listens any more is it gone.

    Attributes:
        on_peer: told in the service thread when the link to a peer comes and goes.
        will_restart: whether a peer that was lost is started again: then refs to its actors stay
            alive, their askers get `ActorRestarted`, and senders wait for it. Must not block.
    """

    def __init__(
        self,
        name: str,
        *,
        incarnation: int = 1,
        limits: NodeLimits = DEFAULT_NODE_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _NAME.fullmatch(name):
            allowed = "up to 64 of letters, digits, '_', '.', '-'"
            raise ValueError(f"{name!r} is no node name: {allowed}")
        self.name = name
        self.incarnation = incarnation
        self.limits = limits
        self.clock = clock
        self.traffic = Traffic()
        self.on_peer: Callable[[PeerEvent], None] | None = None
        self.will_restart: Callable[[str], bool] = lambda _peer: False
        self._lock = threading.RLock()
        self._dial_lock = threading.Lock()
        self._refs: weakref.WeakValueDictionary[tuple[str, str], RemoteRef] = (
            weakref.WeakValueDictionary()
        )
        self._sessions: dict[str, Session] = {}
        self._all_sessions: set[Session] = set()
        self._newest: dict[str, int] = {}
        self._gone: dict[str, str] = {}
        self._looks: dict[str, int] = {}
        self._up: dict[str, int] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._is_closed = False

    def peers(self) -> dict[str, int]:
        """The peers with a link, and their incarnations."""
        with self._lock:
            return {peer: session.incarnation for peer, session in self._sessions.items()}

    def peer_restarted(self, peer: str, incarnation: int) -> None:
        """A peer has been started again: what is older is over, and what it still says is dropped.

        Requests that older incarnations have not answered fail as `ActorRestarted`.
        """
        with self._lock:
            if incarnation <= self._newest.get(peer, 0) and peer not in self._gone:
                return
            self._newest[peer] = max(incarnation, self._newest.get(peer, 0))
            self._gone.pop(peer, None)
            old = [
                session
                for session in self._all_sessions
                # One without a greeting may be to the new incarnation: it says so itself, soon.
                if session.peer == peer and 0 < session.incarnation < incarnation
            ]
            refs = self._refs_of(peer)
        for session in old:
            reason = f"incarnation {incarnation} of {peer!r} has been started"
            self._end(session, reason, is_restart=True)
        for ref in refs:
            if incarnation > ref.incarnation:
                ref.revive(incarnation)

    def peer_gone(self, peer: str, reason: str, *, at_once: bool = True) -> None:
        """A peer will not come again: its actors are dead, and who asks them is told so.

        Args:
            peer: its name.
            reason: for those who ask.
            at_once: whether to end its links now. Otherwise they are read to their end, so that
                what it answered last arrives: for one whose process is known to be over.
        """
        with self._lock:
            self._gone[peer] = reason
            old = [session for session in self._all_sessions if session.peer == peer]
            refs = self._refs_of(peer)
        for session in old if at_once else ():
            self._end(session, reason, is_restart=False)
        for ref in refs:
            ref.die()

    def fail(self, corr: int, error: Exception) -> bool:
        """End one request that is awaited here; False when it was over already."""
        for session in self._live_sessions():
            future = session.pending.pop(corr, None)
            if future is not None:
                return future.fail(error)
        return False

    def stats(self) -> Traffic:
        """What was counted so far."""
        return self.traffic.snapshot()

    def flush(self) -> None:
        """Send what was collected and waits to be sent. Never blocks."""
        for session in tuple(self._all_sessions):
            if session.out:
                session.flush()

    def session(self, peer: str, who: str, until_s: float) -> Session:
        """The link to a peer, which is made when there is none.

        Raises:
            ActorLost: the peer is gone; it names `who`.
            PeerUnreachable: it cannot be dialled now.
        """
        session = self._sessions.get(peer)
        if session is not None and not session.closed:
            return session
        while True:
            try:
                with self._dial_lock:
                    session = self._sessions.get(peer)
                    if session is None or session.closed:
                        session = self._dial_once(peer)
            except OSError as error:
                may_pass = error.errno == errno.EAGAIN or self.will_restart(peer)
                if not may_pass or self.clock() >= until_s or not self.may_wait():
                    raise self._no_way(peer, who, error) from error
            except NodeError as error:
                raise ActorLost(who, error.reason) from error
            else:
                return session
            # Its next incarnation is being started, or many dial it at the same moment.
            time.sleep(_REDIAL_S)

    def _refs_of(self, peer: str) -> list[RemoteRef]:
        return [ref for (node, _), ref in list(self._refs.items()) if node == peer]

    def _live_sessions(self) -> list[Session]:
        with self._lock:
            return list(self._all_sessions)

    def _no_way(self, peer: str, who: str, error: OSError) -> Exception:
        """What a dial that failed means for the peer, and for who wanted the link."""
        reason = error.strerror or str(error)
        if error.errno not in _GONE:
            return PeerUnreachable(peer, reason)
        if not self.will_restart(peer):
            self.peer_gone(peer, f"it cannot be reached: {reason}")
        return ActorLost(who, f"node {peer!r} cannot be reached: {reason}")

    def _look_again(self, peer: str) -> None:
        """A link has ended: if refs want it, have it made anew, or find that nobody is there."""
        with self._lock:
            looks = self._looks.get(peer, 0)
            is_wanted = not all(ref.is_dead for ref in self._refs_of(peer))
            if self._is_closed or not is_wanted or looks >= _LOOKS:
                return
            self._looks[peer] = looks + 1
        self.call_soon(lambda: self._look(peer))

    def _look(self, peer: str) -> None:
        with contextlib.suppress(ActorLost, PeerUnreachable):
            self.session(peer, f"node {peer!r}", self.clock())

    def _dial_once(self, peer: str) -> Session:
        if self._is_closed:
            raise NodeError(peer, "this node is closed")
        if peer in self._gone:
            raise NodeError(peer, self._gone[peer])
        session = self._dial(peer)
        with self._lock:
            self._all_sessions.add(session)
            self._sessions[peer] = session
        session.post((wire.HELLO, wire.VERSION, self.name, self.incarnation, {}), now=True)
        return session

    def _on_hello(self, session: Session, record: list[Any]) -> None:
        version, peer, incarnation = record[1], record[2], record[3]
        is_sound = isinstance(peer, str) and _NAME.fullmatch(peer) and isinstance(incarnation, int)
        if version != wire.VERSION or not is_sound or (session.peer and session.peer != peer):
            self.traffic.refused += 1
            self._refuse(session, "version", f"this is version {wire.VERSION} of node {self.name}")
            return
        if incarnation < self._newest.get(peer, 0):
            self.traffic.stale += 1
            self._refuse(session, "stale", f"incarnation {self._newest[peer]} was here already")
            return
        is_answer = bool(session.peer)
        session.peer, session.incarnation, session.greeted = peer, incarnation, True
        if not is_answer:
            self._say(session, (wire.HELLO, wire.VERSION, self.name, self.incarnation, {}))
        self.peer_restarted(peer, incarnation)
        with self._lock:
            self._gone.pop(peer, None)
            current = self._sessions.get(peer)
            if current is None or current.closed:
                self._sessions[peer] = session
            is_new = self._up.get(peer) != incarnation
            self._up[peer] = incarnation
        if not is_answer:
            self._end_earlier(session)
        if is_new:
            self._tell_peer(PeerEvent("connected", peer, incarnation))

    def _end_earlier(self, session: Session) -> None:
        """Who dials anew has given its earlier link up: what that still brings would come too late.

        What lies in the socket came before, and is read before the new link's first message.
        """
        for other in self._live_sessions():
            if other is not session and other.peer == session.peer and not other.is_dialled:
                other.read_rest()
                self._end(other, "the peer dialled anew", is_restart=False)

    def _refuse(self, session: Session, kind: str, reason: str) -> None:
        self._say(session, (wire.BYE, kind, reason))
        self._end(session, reason, is_restart=False)

    def _on_bye(self, session: Session, kind: str, reason: str) -> None:
        # It will not have this node another time either.
        for ref in self._refs_of(session.peer):
            ref.die()
        self._end(session, f"{kind}: {reason}", is_restart=False)

    def _say(self, session: Session, record: tuple[Any, ...]) -> None:
        try:
            session.post(record, now=True)
        except LinkClosed:
            return

    def _tell_peer(self, event: PeerEvent) -> None:
        told = self.on_peer
        if told is not None:
            self.call_soon(lambda: told(event))

    def _end(self, session: Session, reason: str, *, is_restart: bool) -> None:
        """A link is over: who awaits answers over it hears so now, not at a deadline."""
        peer = session.peer
        is_restart = is_restart or (bool(peer) and not self._is_closed and self.will_restart(peer))
        kind = ActorRestarted if is_restart else ActorLost

        def error(ref: RemoteRef | None) -> Exception:
            if ref is None:
                return NodeError(peer, reason)
            return kind(str(ref), reason, True)  # noqa: FBT003 - maybe_executed

        if not session.end(reason, error):
            return
        self._close_io(session)
        with self._lock:
            self._all_sessions.discard(session)
            others = [s for s in self._all_sessions if s.peer == peer and s.greeted]
            if self._sessions.get(peer) is session:
                del self._sessions[peer]
                if others:
                    self._sessions[peer] = others[0]
        if not peer or others:
            return
        if not is_restart:
            self._look_again(peer)
        if session.greeted:
            self._up.pop(peer, None)
            self._tell_peer(PeerEvent("disconnected", peer, session.incarnation))

    def _sweep(self) -> bool:
        """End what is overdue: requests that nobody waits for, links without a hello.

        Returns:
            Whether some are left.
        """
        now_s = self.clock()
        is_awaited = False
        for session in self._live_sessions():
            if not session.greeted:
                is_awaited = True
                # What was dialled may be busy; what came and says nothing is a stranger.
                limit_s = (
                    self.limits.ask_timeout_s if session.peer else self.limits.connect_timeout_s
                )
                if now_s >= session.since_s + limit_s:
                    self.traffic.refused += 1
                    self._end(session, "no hello came in time", is_restart=False)
            for corr, future in list(session.pending.items()):
                if future.deadline_s is None or future.deadline_s > now_s:
                    is_awaited = True
                elif session.pending.pop(corr, None) is not None:
                    self.traffic.expired += 1
                    future.fail(pykka.Timeout("no answer came before the request's deadline"))
        return is_awaited

    def _run_calls(self) -> None:
        for _ in range(len(self._calls)):
            call = self._calls.popleft()
            try:
                call()
            except Exception:  # noqa: BLE001 - what a callback raises ends nothing but itself
                self.traffic.handler_failed += 1
                _log.exception("a callback of node %r failed", self.name)

    def may_wait(self) -> bool:
        """Whether this thread may wait for others: not the one that reads."""
        raise NotImplementedError

    def _dial(self, peer: str) -> Session:
        """A new link. Raises OSError when nobody is there."""
        raise NotImplementedError

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have it called in the service thread."""
        raise NotImplementedError

    def _close_io(self, session: Session) -> None:
        raise NotImplementedError
