"""The receiving side of a link, for one actor: its mailbox, its sender's room, its answers."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from . import wire
from .errors import DecodeError, NodeError
from .mailbox import Overflow

if TYPE_CHECKING:
    from .hosting import Hosted
    from .session import Session

_TELL_FIELDS = 4
_ASK_FIELDS = 6


def check_lane(record: list[Any]) -> None:
    """See that a message is whole, here and not in the actor's thread; a proxy's is rebuilt.

    Raises:
        DecodeError, LookupError, TypeError: it is not what the protocol says.
    """
    if record.__class__ is not list:
        # A map with the right numbers for keys looks like one as far as indexing goes.
        raise DecodeError("a record is no array")
    if record[0] == wire.TELL:
        if len(record) > _TELL_FIELDS:
            del record[_TELL_FIELDS:]
    elif not (isinstance(record[5], float) and isinstance(record[4], int)):
        raise DecodeError("a request has no number or no deadline")
    elif len(record) > _ASK_FIELDS and not isinstance(record[6], list):
        raise DecodeError("a call chain is no array")
    if record[2]:
        record[3] = _rebuild(record[2], record[3])
    else:
        _ = record[3]


def _rebuild(form: int, body: Any) -> Any:
    if form == wire.PROXY_CALL:
        path, args, kwargs = body
        named = dict(kwargs)
        if named and not all(isinstance(name, str) for name in named):
            raise DecodeError("an argument's name is no text")
        return ProxyCall(_path(path), tuple(args), named)
    if form == wire.PROXY_GET:
        return ProxyGetAttr(_path(body[0]))
    if form == wire.PROXY_SET:
        path, value = body
        return ProxySetAttr(_path(path), value)
    raise DecodeError(f"the form {form} of a message is unknown")


def _path(names: Any) -> tuple[str, ...]:
    """An attribute's path. Private names are for nobody outside, as with pykka's own proxies."""
    if not isinstance(names, list) or not names:
        raise DecodeError("an attribute's path is no array of names")
    for name in cast("list[object]", names):
        if not isinstance(name, str) or name.startswith("_"):
            raise DecodeError(f"an attribute's path has {name!r}, which is no public name")
    return tuple(cast("list[str]", names))


def to_form(message: Any) -> tuple[int, Any]:
    """How a message travels: its form, and its body."""
    kind = message.__class__
    if kind is ProxyCall:
        return wire.PROXY_CALL, (message.attr_path, message.args, message.kwargs)
    if kind is ProxyGetAttr:
        return wire.PROXY_GET, (message.attr_path,)
    if kind is ProxySetAttr:
        return wire.PROXY_SET, (message.attr_path, message.value)
    return wire.RAW, message


class WireReply:
    """Takes an actor's answer to a request from elsewhere; the first one counts.

    Looks like a future to pykka, and sends in the actor's own thread.
    """

    __slots__ = ("_corr", "_deadline_s", "_is_done", "_port")

    def __init__(self, port: ActorPort, corr: int, deadline_s: float) -> None:
        self._port = port
        self._corr = corr
        self._deadline_s = deadline_s
        self._is_done = False

    def set(self, value: Any = None) -> None:
        """Send the answer.

        Raises:
            EncodeError, FrameTooLarge: it cannot be said; pykka then sends that as the answer.
        """
        if not self._is_done:
            port = self._port
            # An actor that has nothing else to do would flush it right after.
            now = not port.inbox.ready()
            port.session.answer((wire.REPLY, self._corr, value), self._deadline_s, now=now)
            self._is_done = True

    def set_exception(self, exc_info: Any = None) -> None:
        """Send an exception: the one given, or the one being handled."""
        if self._is_done:
            return
        self._is_done = True
        error = (exc_info or sys.exc_info())[1] or RuntimeError("no exception was given")
        session = self._port.session
        try:
            session.answer_error(self._corr, error, self._deadline_s)
        except Exception as problem:  # noqa: BLE001 - else the thread ends, and the asker waits
            session.answer_error(self._corr, problem, self._deadline_s)


class ActorPort:
    """Where one peer's messages for one actor come in.

    Attributes:
        box: what came with the chunk that is being read.
        used: messages the actor took out since the sender was last given room.
    """

    __slots__ = ("_back", "_back_bytes", "_back_lock", "box", "hosted", "inbox", "quantum",
                 "quantum_bytes", "session", "used", "used_bytes")  # fmt: skip

    def __init__(self, session: Session, hosted: Hosted) -> None:
        self.session = session
        self.hosted = hosted
        self.inbox = hosted.inbox
        self.box: list[Any] = []
        self.used = 0
        self.used_bytes = 0
        # Apart from what the actor uses up, which is counted in its thread without a lock.
        self._back_lock = threading.Lock()
        self._back = 0
        self._back_bytes = 0
        spec = hosted.inbox.spec
        parts = 4 if spec.overflow is Overflow.DROP_OLDEST else 2
        self.quantum = max(1, spec.window // parts)
        self.quantum_bytes = max(1, spec.window_bytes // parts)
        hosted.inbox.open_port(self)

    @property
    def is_over(self) -> bool:
        """Whether nothing comes in any more."""
        return bool(self.session.closed)

    def deliver(self) -> None:
        """Hand the box over. In the thread that reads."""
        if self.box:
            box, self.box = self.box, []
            self.inbox.extend(box)

    def grant(self) -> None:
        """Give the sender back the room of what was taken out. In the actor's thread."""
        used, used_bytes = self.used, self.used_bytes
        if not used:
            return
        self.used -= used
        self.used_bytes -= used_bytes
        self._credit(used, used_bytes)

    def _credit(self, count: int, size_bytes: int) -> None:
        record = (wire.CREDIT, self.hosted.actor_id, count, size_bytes)
        # Nobody may be left to be given any.
        with contextlib.suppress(NodeError):
            self.session.post(record, now=True)

    def give_back(self, size_bytes: int) -> None:
        """Give the sender back the room of a message that was refused or dropped. Any thread."""
        with self._back_lock:
            self._back += 1
            self._back_bytes += size_bytes
            if self._back < self.quantum and self._back_bytes < self.quantum_bytes:
                return
        self._give_all_back()

    def _give_all_back(self) -> None:
        with self._back_lock:
            back, back_bytes = self._back, self._back_bytes
            self._back = self._back_bytes = 0
        if back:
            self._credit(back, back_bytes)

    def settle(self) -> None:
        """Nothing waits: give all room back. In the actor's thread."""
        self.grant()
        self._give_all_back()

    def reply(self, corr: int, deadline_s: float) -> WireReply:
        """What takes the answer to a request."""
        return WireReply(self, corr, deadline_s)
