"""An actor system as one of its processes sees it; the root's process, too."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pykka

from understudy.transport import waiting
from understudy.transport.address import Address
from understudy.transport.errors import NodeError, TransportError

from .actor_errors import ActorStartFailed, InvalidActor, SystemClosed
from .loading import describe_class, locate_class, pack_arguments
from .member_base import REQUEST_S, MemberBase
from .running import RunningActor
from .spawn_options import check_class, check_options
from .spec import Restart
from .telling import WAIT_TELLER

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from understudy.transport.node_base import NodeBase

    from .backoff import Backoff
    from .watch import Down

_A = TypeVar("_A", bound=pykka.Actor)


class _Starting(threading.local):
    system: SystemMember | None = None


_starting = _Starting()
_systems: list[SystemMember] = []


def current_system() -> SystemMember:
    """The system that this process belongs to; the latest, when it made several.

    Raises:
        SystemClosed: it belongs to none.
    """
    if not _systems:
        raise SystemClosed("of this process")
    return _systems[-1]


def starting_system() -> SystemMember | None:
    """The system that constructs an actor in this thread, right now."""
    return _starting.system


class SystemMember(MemberBase):
    """Starts, finds and watches actors. All methods may be called from any thread.

    Got from `ActorSystem(...)` in the root's process, from `Actor.system` and `current_system()`
    in all.
    """

    def __init__(self, name: str, node: NodeBase) -> None:
        super().__init__(name, node)
        _systems.append(self)

    # -- for users ----------------------------------------------------------------------------

    def spawn(
        self,
        actor_class: type[_A],
        *args: Any,  # noqa: ANN401 - the constructor's
        process: bool = False,
        name: str | None = None,
        restart: str = Restart.TEMPORARY,
        start_timeout_s: float = 30.0,
        shutdown_s: float | None = 10.0,
        liveness_interval_s: float | None = None,
        backoff: Backoff | None = None,
        **kwargs: Any,  # noqa: ANN401 - the constructor's
    ) -> pykka.ActorRef[_A]:
        """Start an actor, and return its ref when its `on_start` is through.

        One that an actor spawns is that actor's child, and is stopped when its parent ends.

        Args:
            actor_class: an `Actor`, or any `pykka.ThreadingActor`.
            *args: for its constructor. With `process`, only plain data and refs.
            **kwargs: likewise.
            process: whether it gets a process of its own, a child of the root's fork server.
            name: unique among the living; None: one is made.
            restart: with `process`, whether it is started again: `permanent`, `transient` (after a
                failure) or `temporary` (never). Its name and its refs stay valid.
            start_timeout_s: how long it may take to get there.
            shutdown_s: how long it may take to stop, see `ChildSpec`.
            liveness_interval_s: with `process`, its loop must take a message within this time, or
                it is killed as hung; None: it may take as long as it likes.
            backoff: with `restart`, the wait before it is started again; None: at once.

        Raises:
            InvalidActor, InvalidSpec, NameTaken: nothing was started.
            ActorStartFailed: it raised, or took too long; nothing of it is left.
            SystemClosed: the system is over.
        """
        options: dict[str, Any] = {
            "restart": str(restart),
            "start_timeout_s": start_timeout_s,
            "shutdown_s": shutdown_s,
            "liveness_interval_s": liveness_interval_s,
            "backoff": backoff,
        }
        check_class(actor_class)
        check_options(actor_class, options)
        if process:
            options["backoff"] = None if backoff is None else vars(backoff)
            return self._spawn_process(actor_class, name, args, kwargs, options)
        if restart != Restart.TEMPORARY or liveness_interval_s is not None:
            detail = (
                "only an actor in a process of its own can be restarted or pinged: process=True"
            )
            raise InvalidActor(describe_class(actor_class), detail)
        return self._spawn_here(actor_class, name, args, kwargs, start_timeout_s)

    def find(self, name: str) -> pykka.ActorRef[Any]:
        """The living actor of that name.

        Raises:
            UnknownActor: there is none.
            SystemClosed: the system is over.
        """
        found = self._request("find", {"name": name}, REQUEST_S)
        return self._node.ref(Address.from_wire(found["address"]))

    def names(self) -> list[str]:
        """The names of all living actors, in the order in which they were spawned."""
        return list(self._request("names", {}, REQUEST_S)["names"])

    def stop(self, ref: pykka.ActorRef[Any] | str, *, timeout_s: float = 30.0) -> bool:
        """Stop an actor for good, whatever its `restart` says, after its children.

        Args:
            ref: the actor, or its name.
            timeout_s: how long to wait for its end.

        Returns:
            Whether it, or its name, was alive.

        Raises:
            pykka.Timeout: it, or a child of it, has not ended yet; all have been asked to. One with
                a process of its own will be ended by its `shutdown_s`.
        """
        until_s = self._node.clock() + timeout_s
        name = ref if isinstance(ref, str) else self._name_of(ref)
        if name is None:
            return False
        return self._stop_each([*self._stop_order(name), name], until_s)

    def _name_of(self, ref: pykka.ActorRef[Any]) -> str | None:
        try:
            actor_id = self._node.address(ref).actor_id
        except pykka.ActorDeadError:
            return None
        name: str | None = self._request("name", {"actor_id": actor_id}, REQUEST_S)["name"]
        return name

    def _stop_order(self, under: str | None) -> list[str]:
        return list(self._request("order", {"under": under}, REQUEST_S)["names"])

    def _stop_each(self, names: Sequence[str], until_s: float) -> bool:
        """Stop them one after the other; once the time is over, the rest are only asked to end.

        Returns:
            Whether the last of them was alive.
        """
        was_alive = False
        late = ""
        for name in names:
            try:
                was_alive = self._stop_one(name, until_s)
            except pykka.Timeout:
                late = late or name
        if late:
            raise pykka.Timeout(f"{late} has not ended in time")
        return was_alive

    def _stop_one(self, name: str, until_s: float) -> bool:
        patience_s = max(0.0, until_s - self._node.clock())
        return bool(self._request("stop", {"name": name}, patience_s)["was_alive"])

    def watch(
        self, ref: pykka.ActorRef[Any], callback: Callable[[Down], None]
    ) -> Callable[[], None]:
        """Have a function called with a `Down`, once, when that actor ends or when it has.

        It is called in a thread of the system and must not block. Actors use `Actor.watch`.

        Returns:
            Call it to watch no more.
        """
        return self._watching.watch(ref, callback)

    @contextlib.contextmanager
    def waits(self, what: str, *holders: pykka.ActorRef[Any] | str) -> Generator[None]:
        """Say that this actor waits, in the block, until one of the holders lets it go on.

        So that rings are found that lead over a permit, a slot or a person.

        Args:
            what: `permit`, `slot`, …: a word for it.
            holders: any of these can end the wait; `"human"` always can.
        """
        targets = [h if isinstance(h, str) else self._node.address(h).key for h in holders]
        waiter = waiting.current_actor()
        if waiter is None:
            yield
            return
        with WAIT_TELLER.waiting(self, waiter.owner_key, targets, what):
            yield

    # -- for actors ---------------------------------------------------------------------------

    def watch_for(
        self, watcher: pykka.ActorRef[Any], ref: pykka.ActorRef[Any], *, is_link: bool
    ) -> None:
        """See `Actor.watch`; with `is_link`, one side of `Actor.link`."""
        self._watching.watch_for(watcher, ref, is_link=is_link)

    def unwatch_for(
        self, watcher: pykka.ActorRef[Any], ref: pykka.ActorRef[Any], *, is_link: bool
    ) -> None:
        """See `Actor.unwatch`."""
        self._watching.unwatch_for(watcher, ref, is_link=is_link)

    def link(self, one: pykka.ActorRef[Any], other: pykka.ActorRef[Any]) -> None:
        """See `Actor.link`; `one` is of this process."""
        self._set_link("link", one, other)

    def unlink(self, one: pykka.ActorRef[Any], other: pykka.ActorRef[Any]) -> None:
        """See `Actor.unlink`; `one` is of this process."""
        self._set_link("unlink", one, other)

    def _set_link(self, op: str, one: pykka.ActorRef[Any], other: pykka.ActorRef[Any]) -> None:
        set_one = self.watch_for if op == "link" else self.unwatch_for
        set_one(one, other, is_link=True)
        with contextlib.suppress(NodeError, pykka.ActorDeadError):
            mine, theirs = self._node.address(one), self._node.address(other)
            payload = {"op": op, "other": mine.to_wire(), "actor_id": theirs.actor_id}
            self._send(theirs.node, payload)

    # -- starting -----------------------------------------------------------------------------

    def _spawn_process(
        self,
        actor_class: type[_A],
        name: str | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> pykka.ActorRef[_A]:
        path = describe_class(actor_class)
        payload = {
            "class": locate_class(actor_class),
            "arguments": pack_arguments([args, kwargs], self._node.address_to_send, path=path),
            **options,
        }
        patience_s = options["start_timeout_s"] + REQUEST_S
        with self._claimed(actor_class, name, process=True) as claimed:
            found = self._request("spawn", {**claimed, **payload}, patience_s)
        return self._node.ref(Address.from_wire(found["address"]))

    @contextlib.contextmanager
    def _claimed(
        self, actor_class: type[pykka.Actor], name: str | None, *, process: bool
    ) -> Generator[dict[str, str]]:
        """A name and an id for the start in the block; given back when that fails."""
        inbox = waiting.current_actor()
        payload = {
            "name": name,
            "class_name": actor_class.__name__,
            "process": process,
            "parent": None if inbox is None else inbox.owner_key.rpartition("/")[2],
        }
        claimed = self._request("claim", payload, REQUEST_S)
        try:
            with self._start_of(claimed["key"]):
                yield claimed
        except BaseException:
            with contextlib.suppress(TransportError, SystemClosed):
                self._tell_root("release", {"actor_id": claimed["actor_id"]})
            raise

    @contextlib.contextmanager
    def _start_of(self, key: str) -> Generator[None]:
        """Who spawns waits for the start, and must not be asked by it."""
        inbox = waiting.current_actor()
        if inbox is None:
            yield
            return
        with WAIT_TELLER.waiting(self, inbox.owner_key, [key], "start"):
            yield

    def _spawn_here(
        self,
        actor_class: type[_A],
        name: str | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout_s: float,
    ) -> pykka.ActorRef[_A]:
        with self._claimed(actor_class, name, process=False) as claimed:
            running = self.run_actor(actor_class, args, kwargs, claimed, timeout_s)
        # Not asked for now: it may have stopped since, and be nobody's.
        address = running.address
        self._tell_root("up", {"address": address.to_wire()})
        running.on_end(lambda end: self._tell_died(address, end))
        return running.ref

    def run_actor(
        self,
        actor_class: type[pykka.Actor],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        claimed: Mapping[str, str],
        timeout_s: float,
        *,
        on_hosted: Callable[[], None] = lambda: None,
    ) -> RunningActor:
        """Start an actor in this process, under the name and id that were claimed for it.

        Args:
            actor_class: see `spawn`.
            args: see `spawn`.
            kwargs: see `spawn`.
            claimed: its `name` and `actor_id`; and its `urn`, when it is to have one from before.
            timeout_s: for its `on_start`.
            on_hosted: called when others can reach it, before its `on_start`.

        Raises:
            ActorStartFailed: it raised, or took too long.
        """
        name, actor_id = claimed["name"], claimed["actor_id"]
        outer, _starting.system = _starting.system, self
        try:
            running = RunningActor(actor_class, args, kwargs)
        except Exception as error:
            raise ActorStartFailed(name, f"{type(error).__name__}: {error}") from error
        finally:
            _starting.system = outer
        running.belong_to(self, claimed.get("urn"))
        running.address = self._node.host(running.ref, actor_id=actor_id)
        self._running[running.ref.actor_urn] = running
        WAIT_TELLER.add(running.ref.actor_urn, f"{self._node.name}/{actor_id}", self)
        running.on_end(lambda _: self._forget(running.ref.actor_urn))
        on_hosted()
        why = running.start(timeout_s)
        if why is not None:
            raise ActorStartFailed(name, why)
        return running

    def _close_member(self) -> None:
        super()._close_member()
        if self in _systems:
            _systems.remove(self)
