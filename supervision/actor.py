"""The actor that people write: pykka's, with a bounded mailbox, a system, watches and links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from understudy.transport import waiting
from understudy.transport.adopt import MailboxActor

from .actor_errors import LinkBroken
from .member import current_system, starting_system
from .notices import Notice

if TYPE_CHECKING:
    import pykka

    from .member import SystemMember
    from .watch import Down


class Actor(MailboxActor):
    """A `pykka.ThreadingActor` that a system started: it can watch, link, and find others.

    All that pykka's documentation says holds, and what a plain `pykka.ThreadingActor` can do, this
    one can. `docs/actors.md` has the differences.

    Attributes:
        mailbox: the bounds of its mailbox, a `MailboxSpec`.
        trap_links: whether the end of a linked actor, an orderly one too, comes as a `Down` to
            `on_receive`; otherwise this actor ends with one that failed, by `LinkBroken`.
    """

    trap_links: ClassVar[bool] = False

    _system: SystemMember | None = None

    @property
    def system(self) -> SystemMember:
        """The system that started this actor; from `__init__` on.

        Raises:
            SystemClosed: none did.
        """
        return self._system or starting_system() or current_system()

    def watch(self, ref: pykka.ActorRef[Any]) -> None:
        """Be told, by a `Down` in `on_receive`, when that actor ends; at once when it has ended.

        One `Down` comes for each watch; watching what is watched changes nothing. It may overtake
        messages that the actor sent before it ended, and is never held up by a full mailbox.
        """
        self.system.watch_for(cast("Any", self.actor_ref), ref, is_link=False)

    def unwatch(self, ref: pykka.ActorRef[Any]) -> None:
        """Watch it no more; also a `Down` that is on its way does not come."""
        self.system.unwatch_for(cast("Any", self.actor_ref), ref, is_link=False)

    def link(self, ref: pykka.ActorRef[Any]) -> None:
        """Share the fate of another `Actor`: when one ends by a failure, so does the other.

        An orderly end concerns nobody. Linking to what is dead already is as if it died now.
        """
        self.system.link(cast("Any", self.actor_ref), ref)

    def unlink(self, ref: pykka.ActorRef[Any]) -> None:
        """Share its fate no more, on both sides."""
        self.system.unlink(cast("Any", self.actor_ref), ref)

    # -- inside -------------------------------------------------------------------------------

    def _actor_loop_setup(self) -> None:
        # Before the first message is taken out: `on_start` may ask, and then others wait for it.
        waiting.enter_actor(cast("Any", self.actor_inbox))
        super()._actor_loop_setup()

    def _handle_receive(self, message: Any) -> Any:  # noqa: ANN401 - as pykka says
        if message.__class__ is dict:
            # Pykka's messages to itself, which it looks for first, are no dicts.
            answer = self.on_receive(message)
            # An answer goes out before others are taken.
            if cast("Any", self.actor_inbox).reply is None:
                self._take_told()
            return answer
        if message.__class__ is not Notice:
            return super()._handle_receive(message)
        if message.is_due():
            self._take_down(message.down, is_link=message.is_link)
        return None

    def _take_down(self, down: Down, *, is_link: bool) -> None:
        if not is_link or self.trap_links:
            self.on_receive(down)
        elif not down.is_orderly:
            raise LinkBroken(str(down.ref), down.reason, down.exit.detail)
