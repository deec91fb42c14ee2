"""Starts one actor in this process, and knows when it is ready, when it ends, and how."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pykka

from understudy.transport.adopt import StopEvent, adopt
from understudy.transport.pykka_parts import Envelope

from .events import ExitReason
from .notices import Ping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from understudy.transport.address import Address


class RunningActor:
    """An actor of this process, from its construction to the end of its thread.

    Args:
        actor_class: a `pykka.ThreadingActor`.
        args, kwargs: for its constructor, which runs in the calling thread.

    Attributes:
        ref: its ref.
        address: where it is, once it is hosted.

    Raises:
        Exception: what its constructor raised.
    """

    address: Address

    def __init__(
        self, actor_class: type[pykka.Actor], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self._actor: Any = actor_class(*args, **kwargs)
        if getattr(self._actor, "_actor_ref", None) is None:
            raise TypeError(f"{actor_class.__qualname__}.__init__ does not call super().__init__()")
        self.ref: pykka.ActorRef[Any] = self._actor.actor_ref
        self._inbox = adopt(self.ref)
        self._settled = threading.Event()
        self._gone = threading.Event()
        self._failure: str | None = None
        self._fit_out()

    def belong_to(self, system: object, urn: str | None) -> None:
        """Let an `Actor` know its system; with `urn`, be who its last incarnation was."""
        if urn is not None:
            self._actor.actor_urn = self.ref.actor_urn = urn
            self._inbox.bind(urn, self.ref.actor_stopped, str(self.ref))
        if hasattr(self._actor, "_system"):
            self._actor._system = system  # noqa: SLF001 - an `Actor`'s, which may be a plain one

    def start(self, timeout_s: float) -> str | None:
        """Run its loop; return when `on_start` is through: None, or why it is not up.

        One that takes too long is told to stop, and given up.
        """
        pykka.ActorRegistry.register(self.ref)
        self._actor._start_actor_loop()  # noqa: SLF001 - as pykka's own start() does
        if not self._settled.wait(timeout_s):
            self.ref.stop(block=False)
            return f"on_start takes longer than {timeout_s:g} s"
        return self._failure

    def on_end(self, listener: Callable[[ExitReason], None]) -> None:
        """Call it when the actor stops, in its thread; at once when it has."""
        cast("StopEvent", self.ref.actor_stopped).listen(lambda why: listener(explain_stop(why)))

    def wait_gone(self, timeout_s: float | None) -> bool:
        """Whether its thread is through, `on_stop` included, within that time."""
        return self._gone.wait(timeout_s)

    @property
    def exit(self) -> ExitReason:
        """How it ended, once it has."""
        return explain_stop(cast("StopEvent", self.ref.actor_stopped).reason)

    def ping(self, pong: Callable[[], None]) -> None:
        """Have its loop call `pong`, before any message that waits."""
        self._inbox.put_control(Envelope(Ping(pong)))

    # -- inside -------------------------------------------------------------------------------

    def _fit_out(self) -> None:
        # On the object and not by a subclass, so that a plain actor's class stays what it is.
        actor, loop, setup = self._actor, self._actor._actor_loop, self._actor._actor_loop_setup  # noqa: SLF001
        receive = actor._handle_receive  # noqa: SLF001

        def run() -> None:
            try:
                loop()
            finally:
                self._settled.set()
                self._gone.set()

        def set_up() -> None:
            setup()
            stopped = cast("StopEvent", self.ref.actor_stopped)
            if stopped.is_set():
                self._failure = f"on_start failed: {stopped.reason}"
            self._settled.set()

        def take(message: object) -> object:
            if isinstance(message, Ping):
                message.pong()
                return None
            return receive(message)

        actor._actor_loop, actor._actor_loop_setup = run, set_up  # noqa: SLF001
        actor._handle_receive = take  # noqa: SLF001


def explain_stop(why: str) -> ExitReason:
    """The reason of an actor that stopped in a process that lives on."""
    return ExitReason("normal") if why == "stopped" else ExitReason("crash", detail=why)
