"""The root of an actor system: all that is known of all its actors, in one thread.

Requests, exits, waits and the end of actors come in from any thread, one after the other; nothing
here waits for anybody.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from understudy.transport.errors import TransportError

from .actor_errors import ActorStartFailed, InvalidActor
from .actor_processes import SUPERVISOR_OF
from .claims import Claims
from .deadlocks import DeadlockFinder
from .errors import SupervisionError
from .events import ExitReason
from .names import Names
from .watch import Death, WatchRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from .actor_processes import ActorProcesses
    from .events import ChildEvent
    from .names import Entry

_log = logging.getLogger(__name__)

_JOIN_S = 5.0
_LAST_WORDS_S = 1.0


class Desk:
    """What the root knows, and does. `post` may be called from any thread.

    Args:
        root: the root's node.
        send: sends a control message to a node; raises `TransportError` when it cannot.
        stop_actor: stops an actor that has no process of its own, by its address; must not block.
        child_args: what each actor's process is told besides its class and arguments.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        root: str,
        send: Callable[[str, dict[str, Any]], None],
        stop_actor: Callable[[list[Any]], None],
        child_args: dict[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._send_now = send
        self._stop_actor = stop_actor
        self._child_args = child_args
        self._clock = clock
        self.processes: ActorProcesses
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._names = Names((root,))
        self._claims = Claims(self._names, root, child_args["folder"])
        self._watches = WatchRegistry()
        self._deadlocks = DeadlockFinder(self._send, self._later)
        self._starting: dict[str, tuple[str, int]] = {}
        self._stopping: dict[str, list[tuple[str, int]]] = {}
        self._restartable: dict[str, None] = {}
        self._thread = threading.Thread(target=self._run, name="understudy-system", daemon=True)

    def start(self, processes: ActorProcesses) -> None:
        """Start the thread."""
        self.processes = processes
        self._thread.start()

    def close(self) -> None:
        """End the thread and join it."""
        self._inbox.put(None)
        self._thread.join(_JOIN_S)

    def post(self, node: str, payload: dict[str, Any]) -> None:
        """A control message of a node."""
        self._inbox.put(lambda: self._take(node, payload))

    def post_event(self, event: ChildEvent) -> None:
        """Something happened to an actor's process."""
        self._inbox.put(lambda: self._take_event(event))

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                call = self._inbox.get(timeout=self._patience_s())
            except queue.Empty:
                call = heapq.heappop(self._timers)[2]
            if call is None:
                return
            try:
                call()
            except Exception:  # noqa: BLE001 - one bad message must not end the system
                _log.exception("the root could not deal with a message")

    def _patience_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - self._clock()) if self._timers else None

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self._clock() + delay_s, next(self._serial), call))

    def _send(self, node: str, payload: dict[str, Any]) -> None:
        try:
            self._send_now(node, payload)
        except TransportError as error:
            _log.debug("%s does not hear: %s", node, error)

    def _tell_all(self, payload: dict[str, Any]) -> None:
        for node in (self._root, *self._names.nodes()):
            self._send(node, {"op": "peer", **payload})

    # -- messages -----------------------------------------------------------------------------

    def _take(self, node: str, payload: dict[str, Any]) -> None:
        number = payload.get("id")
        try:
            result = self._do(node, payload)
        except SupervisionError as error:
            self._fail(node, number, error)
        except (TypeError, ValueError) as error:
            # An option of another type than it says.
            self._fail(node, number, InvalidActor(str(payload.get("name")), str(error)))
        else:
            if number is not None and result is not None:
                self._answer(node, number, result)

    def _do(self, node: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        match payload["op"]:
            case "spawn":
                self._spawn(node, payload)
            case "claim":
                entry = self._claims.take(node, payload)
                return {"name": entry.name, "actor_id": entry.actor_id, "key": entry.key}
            case "up":
                self._up(self._names.by_id(payload["address"][1]), payload["address"], 1)
            case "release":
                self._give_back(payload["actor_id"])
            case "find" | "name" | "names" | "nodes" | "order" as question:
                return self._look_up(question, payload)
            case "stop":
                return self._stop(node, payload)
            case "died":
                self._died(Death.from_wire(payload))
            case _:
                self._do_watch(node, payload)
        return None

    def _look_up(self, question: str, payload: dict[str, Any]) -> dict[str, Any]:
        if question == "find":
            return {"address": self._names.find(payload["name"]).address}
        if question == "names":
            return {"names": self._names.all()}
        if question == "nodes":
            return {"nodes": self._names.nodes()}
        if question == "order":
            return {"names": self._names.stop_order(payload["under"])}
        entry = self._names.by_id(payload["actor_id"])
        return {"name": None if entry is None else entry.name}

    def _do_watch(self, node: str, payload: dict[str, Any]) -> None:
        match payload["op"]:
            case "watch":
                self._watch(node, payload["watch"], payload["address"])
            case "unwatch":
                self._watches.unwatch(f"{node}:{payload['watch']}", payload["target"])
            case "wait":
                self._deadlocks.wait(node, payload)
            case "unwait":
                self._deadlocks.unwait(node, payload["corr"])
            case "confirmed":
                self._deadlocks.confirmed(node, payload["round"], is_so=payload["is_so"])
            case op:
                _log.debug("a word of a newer process is ignored: %r", op)

    def _answer(self, node: str, number: int, result: dict[str, Any]) -> None:
        self._send(node, {"op": "answer", "id": number, "result": result})

    def _fail(self, node: str, number: int | None, error: SupervisionError) -> None:
        if number is None:
            _log.warning("%s: %s", node, error)
            return
        told = {"type": type(error).__name__, "args": list(error.args)}
        self._send(node, {"op": "answer", "id": number, "error": told})

    # -- beginnings ---------------------------------------------------------------------------

    def _spawn(self, node: str, payload: dict[str, Any]) -> None:
        name, actor_id = payload["name"], payload["actor_id"]
        self._claims.use(actor_id, name)
        if payload["restart"] != "temporary":
            self._restartable[actor_id] = None
            self._tell_all({"what": "restartable", "peer": [actor_id]})
        args = {key: payload[key] for key in ("class", "arguments", "name", "actor_id")}
        # One name of pykka's for all incarnations, as its refs have.
        args |= {"urn": uuid.uuid4().urn, "restartable": list(self._restartable)}
        self._starting[actor_id] = (node, payload["id"])
        try:
            self.processes.start(actor_id, args | self._child_args, payload)
        except Exception:
            del self._starting[actor_id]
            self._restartable.pop(actor_id, None)
            self._names.release(name)
            raise

    def _up(self, entry: Entry | None, address: list[Any], incarnation: int) -> None:
        if entry is None:
            return
        entry.claimed_by = None
        entry.address, entry.incarnation, entry.is_up = address, incarnation, True
        self._watches.started(entry.key)
        if entry.is_unwanted:
            self._stop_actor(address)

    def _give_back(self, actor_id: str) -> None:
        """Who claimed it could not start it, or waits for its start no longer."""
        entry = self._names.by_id(actor_id)
        if entry is None:
            return
        if self.processes.has(actor_id):
            # It tells when it is gone.
            self.processes.stop(actor_id)
            return
        self._names.release(entry.name)
        self._is_stopped(entry.name)

    # -- processes ----------------------------------------------------------------------------

    def _take_event(self, event: ChildEvent) -> None:
        actor_id = event.child_id.removeprefix(SUPERVISOR_OF)
        if actor_id != event.child_id and event.kind not in ("gave_up", "stopped"):
            return
        match event.kind:
            case "ready":
                self._process_ready(event)
            case "exited":
                self._process_exited(event)
            case "gave_up" | "stopped":
                self._gone(actor_id, event.reason)
            case _:
                pass

    def _process_ready(self, event: ChildEvent) -> None:
        actor_id = event.child_id
        entry = self._names.by_id(actor_id)
        if entry is None:
            return
        self._up(entry, event.info["address"], event.incarnation)
        if event.incarnation > 1:
            told = {"what": "restarted", "peer": actor_id, "incarnation": event.incarnation}
            self._tell_all(told)
        asker = self._starting.pop(actor_id, None)
        if asker is not None:
            self._answer(*asker, {"address": event.info["address"]})

    def _process_exited(self, event: ChildEvent) -> None:
        node, reason = event.child_id, event.reason or ExitReason("unknown")
        why = reason.detail or reason.kind
        if node not in self._restartable:
            # Before its death is told: who hears of it finds the refs dead.
            self._tell_gone(node, why)
        self._deadlocks.lost(node)
        self._watches.forget(node)
        for target in self._watches.watched(node):
            if self._names.by_id(target.partition("/")[2]) is None:
                self._died(Death(target, event.incarnation, reason))
        for entry in self._names.within(node):
            entry.ended = event.incarnation
            self._died(Death(entry.key, event.incarnation, reason))
        for entry in self._names.claimed_by(node, event.incarnation):
            self._give_back(entry.actor_id)
        asker = self._starting.pop(node, None)
        if asker is not None:
            main = self._names.by_id(node)
            self._fail(*asker, ActorStartFailed(main.name if main else node, why))
            # It never was up: it is not tried again.
            self.processes.stop(node)

    def _gone(self, actor_id: str, reason: ExitReason | None) -> None:
        """No more incarnation of it will come."""
        entry = self._names.by_id(actor_id)
        if entry is None:
            return
        self._names.release(entry.name)
        self.processes.forget(actor_id)
        # A killed process leaves its socket.
        self._claims.socket(actor_id).unlink(missing_ok=True)
        if actor_id in self._restartable:
            del self._restartable[actor_id]
            why = reason.detail or reason.kind if reason else "it was stopped"
            self._tell_gone(actor_id, why)
        self._is_stopped(entry.name)

    def _tell_gone(self, node: str, why: str) -> None:
        told = {"what": "gone", "peer": node, "reason": why}
        self._tell_all({**told, "at_once": False})
        # What its process said last is in the sockets. A link that has no end by then is held open
        # by somebody else.
        self._later(_LAST_WORDS_S, lambda: self._tell_all({**told, "at_once": True}))

    # -- ends ---------------------------------------------------------------------------------

    def _died(self, death: Death) -> None:
        entry = self._names.by_id(death.target.partition("/")[2])
        self._deadlocks.forget(death.target)
        if entry is not None and entry.key == death.target:
            entry.is_up = False
            for child in self._names.stop_order(entry.name):
                self._begin_stop(child)
            if not entry.is_process:
                self._names.release(entry.name)
                self._is_stopped(entry.name)
        self._tell_watchers(self._watches.died(death), death)

    def _tell_watchers(self, watchers: list[str], death: Death) -> None:
        by_node: dict[str, list[int]] = {}
        for watcher in watchers:
            node, _, number = watcher.rpartition(":")
            by_node.setdefault(node, []).append(int(number))
        for node, numbers in by_node.items():
            self._send(node, {"op": "down", "watches": numbers, "death": death.to_wire()})

    def _watch(self, node: str, number: int, address: list[Any]) -> None:
        where, actor_id = address[0], address[1]
        target = f"{where}/{actor_id}"
        watcher = f"{node}:{number}"
        death = self._watches.watch(watcher, target)
        if death is not None:
            self._tell_watchers([watcher], death)
            return
        entry = self._names.by_id(actor_id)
        if entry is not None and entry.key == target:
            return
        host = self._names.by_id(where)
        if where == self._root or (host is not None and host.is_up):
            # An actor that no system started: its process has to say.
            self._send(where, {"op": "monitor", "address": address})
            return
        unknown = Death(target, 0, ExitReason("unknown", detail="it was dead already"))
        self._watches.unwatch(watcher, target)
        self._tell_watchers([watcher], unknown)

    def _stop(self, node: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        name = payload["name"]
        entry = self._names.get(name)
        if entry is None:
            return {"was_alive": False}
        self._stopping.setdefault(name, []).append((node, payload["id"]))
        self._begin_stop(name)
        return None

    def _begin_stop(self, name: str) -> None:
        entry = self._names.get(name)
        if entry is None:
            return
        if entry.is_process:
            self.processes.stop(entry.actor_id)
        elif entry.address is not None:
            self._stop_actor(entry.address)
        else:
            # Nobody can reach it before it is up.
            entry.is_unwanted = True

    def _is_stopped(self, name: str) -> None:
        for node, number in self._stopping.pop(name, []):
            self._answer(node, number, {"was_alive": True})
