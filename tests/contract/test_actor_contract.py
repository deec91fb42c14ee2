"""What every actor does, wherever it runs: pykka's own behaviours, one suite for all kinds."""

from __future__ import annotations

import asyncio
import pickle
import queue
import re
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from fakes import contract_actors as actors

from understudy.supervision.system import ActorSystem
from understudy.transport.errors import EncodeError, RemoteError
from understudy.transport.memory_node import MemoryHub, MemoryNode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 10.0
KINDS = [
    "pykka",
    "spawned pykka",
    "spawned",
    "pykka over memory",
    "memory",
    "pykka in a process",
    "process",
]


class Ear(pykka.ThreadingActor):
    """Hears what the actors say that are tested."""

    use_daemon_thread = True

    def __init__(self, heard: queue.SimpleQueue[str]) -> None:
        super().__init__()
        self._heard = heard

    def on_receive(self, message: Any) -> None:
        self._heard.put(message["event"])


class Stage:
    """Starts actors of one kind."""

    def __init__(self, kind: str, system: ActorSystem) -> None:
        self.kind = kind
        self.system = system
        self.is_remote = "process" in kind
        self.is_plain = "pykka" in kind
        self.actor_class: Any = actors.PlainActor if self.is_plain else actors.OurActor
        self.heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.ear = Ear.start(self.heard)
        self.refs: list[pykka.ActorRef[Any]] = [self.ear]
        self.nodes: list[MemoryNode] = []
        if "memory" in kind:
            hub = MemoryHub()
            self.nodes = [MemoryNode("here", hub), MemoryNode("there", hub)]

    def start(self, *args: Any, **kwargs: Any) -> pykka.ActorRef[Any]:
        ref: pykka.ActorRef[Any]
        if self.kind == "pykka":
            ref = self.actor_class.start(*args, **kwargs)
        elif self.nodes:
            ref = self._start_over_memory(*args, **kwargs)
        else:
            ref = self.system.spawn(self.actor_class, *args, process=self.is_remote, **kwargs)
        self.refs.append(ref)
        return ref

    def _start_over_memory(self, *args: Any, **kwargs: Any) -> pykka.ActorRef[Any]:
        here, there = self.nodes
        args = tuple(there.ref(here.address(arg)) for arg in args)
        local: pykka.ActorRef[Any] = self.actor_class.start(*args, **kwargs)
        self.refs.append(local)
        try:
            local.proxy().ran_on_start.get(timeout=LIMIT_S)
            # Both nodes are in this process; only one ref is to be found.
            pykka.ActorRegistry.unregister(local)
            return here.ref(there.host(local))
        except pykka.ActorDeadError:
            return local

    def hear(self) -> str:
        return self.heard.get(timeout=LIMIT_S)

    def close(self) -> None:
        for ref in reversed(self.refs):
            ref.stop(block=True, timeout=LIMIT_S)
        for node in self.nodes:
            node.close()
        self.system.stop_all()


@pytest.fixture(scope="module")
def system() -> Iterator[ActorSystem]:
    with ActorSystem("contract", preload=["fakes.contract_actors"]) as made:
        yield made


@pytest.fixture(params=KINDS)
def stage(request: pytest.FixtureRequest, system: ActorSystem) -> Iterator[Stage]:
    made = Stage(request.param, system)
    yield made
    made.close()


@pytest.fixture
def ref(stage: Stage) -> pykka.ActorRef[Any]:
    return stage.start(stage.ear)


@pytest.fixture
def dead(ref: pykka.ActorRef[Any]) -> pykka.ActorRef[Any]:
    ref.stop(block=True, timeout=LIMIT_S)
    wait_dead(ref)
    return ref


def wait_dead(ref: pykka.ActorRef[Any]) -> None:
    assert ref.actor_stopped.wait(LIMIT_S)


def until_go(folder: Path) -> dict[str, Any]:
    """Keeps an actor busy until the test says `go`."""
    return {"command": "hold", "folder": str(folder), "behind": 0}


def go(folder: Path) -> None:
    (folder / "go").touch()


def until_behind(count: int) -> dict[str, Any]:
    """Keeps an actor busy until so many messages wait behind this one."""
    return {"command": "hold", "folder": None, "behind": count}


# -- ask and tell ---------------------------------------------------------------------------------


def test_an_ask_is_answered(ref: pykka.ActorRef[Any]) -> None:
    assert ref.ask({"a": [1, "x", None, 2.5, b"bytes"]}, timeout=LIMIT_S) == {
        "a": [1, "x", None, 2.5, b"bytes"]
    }
    assert ref.ask({"command": "nothing"}, timeout=LIMIT_S) is None
    assert ref.ask(None, timeout=LIMIT_S) is None


def test_an_ask_without_block_gives_a_future(ref: pykka.ActorRef[Any]) -> None:
    future = ref.ask("later", block=False)
    assert isinstance(future, pykka.Future)
    assert future.get(timeout=LIMIT_S) == "later"
    assert future.get(timeout=LIMIT_S) == "later"


def test_messages_of_one_sender_arrive_in_order(ref: pykka.ActorRef[Any]) -> None:
    for number in range(500):
        ref.tell(number)
    assert ref.ask({"command": "seen"}, timeout=LIMIT_S) == list(range(500))


def test_an_exception_in_an_ask_is_the_askers_and_the_actor_lives(ref: pykka.ActorRef[Any]) -> None:
    with pytest.raises(ValueError, match="so what"):
        ref.ask({"command": "raise", "say": "so what"}, timeout=LIMIT_S)
    future = ref.ask({"command": "raise", "say": "later"}, block=False)
    with pytest.raises(ValueError, match="later"):
        future.get(timeout=LIMIT_S)
    assert ref.is_alive()
    assert ref.ask("still here", timeout=LIMIT_S) == "still here"


def test_an_exception_in_a_tell_ends_the_actor(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    assert stage.hear() == "on_start"
    ref.tell({"command": "raise", "say": "the end"})
    assert stage.hear() == "on_failure ValueError: the end"
    wait_dead(ref)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("anybody?", timeout=LIMIT_S)


def test_an_ask_that_takes_too_long_is_a_timeout(ref: pykka.ActorRef[Any], tmp_path: Path) -> None:
    with pytest.raises(pykka.Timeout):
        ref.ask(until_go(tmp_path), timeout=0.05)
    go(tmp_path)
    assert ref.ask("afterwards", timeout=LIMIT_S) == "afterwards"


def test_a_future_that_is_not_there_yet_is_a_timeout_and_comes_later(
    ref: pykka.ActorRef[Any], tmp_path: Path
) -> None:
    future = ref.ask(until_go(tmp_path), block=False)
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0.02)
    go(tmp_path)
    assert future.get(timeout=LIMIT_S) == "slept"


# -- life -----------------------------------------------------------------------------------------


def test_on_start_runs_before_the_first_message(stage: Stage) -> None:
    ref = stage.start(stage.ear, word="hello")
    assert ref.proxy().ran_on_start.get(timeout=LIMIT_S) is True
    assert ref.proxy().word.get(timeout=LIMIT_S) == "hello"
    assert stage.hear() == "on_start"


def test_stop_says_whether_it_lived(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    assert ref.is_alive()
    assert ref.stop(block=True, timeout=LIMIT_S) is True
    wait_dead(ref)
    assert not ref.is_alive()
    assert ref.stop(block=True, timeout=LIMIT_S) is False
    assert [stage.hear(), stage.hear()] == ["on_start", "on_stop"]


def test_stop_without_block_gives_a_future(ref: pykka.ActorRef[Any]) -> None:
    assert ref.stop(block=False).get(timeout=LIMIT_S) is True
    wait_dead(ref)
    assert ref.stop(block=False).get(timeout=LIMIT_S) is False


def test_an_actor_is_registered_when_its_on_start_runs(ref: pykka.ActorRef[Any]) -> None:
    assert ref.proxy().was_registered.get(timeout=LIMIT_S) is True


def test_an_actor_may_stop_itself_in_on_start(stage: Stage) -> None:
    ref = stage.start(stage.ear, word="stop in on_start")
    assert [stage.hear(), stage.hear()] == ["on_start", "on_stop"]
    wait_dead(ref)


def test_an_on_stop_that_fails_ends_the_actor_like_any_other(stage: Stage) -> None:
    ref = stage.start(stage.ear, word="fail on_stop")
    assert ref.stop(block=True, timeout=LIMIT_S) is True
    wait_dead(ref)
    assert [stage.hear(), stage.hear()] == ["on_start", "on_stop"]


def test_an_on_failure_that_fails_ends_the_actor_like_any_other(stage: Stage) -> None:
    ref = stage.start(stage.ear, word="fail on_failure")
    ref.tell({"command": "raise", "say": "first"})
    assert [stage.hear(), stage.hear()] == ["on_start", "on_failure ValueError: first"]
    wait_dead(ref)


def test_an_actor_may_stop_itself_twice(ref: pykka.ActorRef[Any]) -> None:
    assert ref.ask({"command": "stop twice"}, timeout=LIMIT_S) == "stopping"
    wait_dead(ref)


def test_a_stop_that_waits_behind_a_stop_is_answered(
    stage: Stage, ref: pykka.ActorRef[Any]
) -> None:
    busy = ref.ask(until_behind(3), block=False)
    assert [stage.hear(), stage.hear()] == ["on_start", "sleeping"]
    stops = [ref.stop(block=False) for _ in range(3)]
    assert busy.get(timeout=LIMIT_S) == "slept"
    assert [stop.get(timeout=LIMIT_S) for stop in stops] == [True, True, True]


def test_its_thread_is_named_after_its_class(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    _, name = ref.proxy().where().get(timeout=LIMIT_S)
    assert name.startswith(stage.actor_class.__name__)


def test_an_actor_can_stop_itself(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    assert ref.ask({"command": "stop"}, timeout=LIMIT_S) == "stopping"
    wait_dead(ref)
    assert [stage.hear(), stage.hear()] == ["on_start", "on_stop"]


def test_what_waits_behind_a_stop_is_answered_as_dead(
    stage: Stage, ref: pykka.ActorRef[Any]
) -> None:
    busy = ref.ask(until_behind(2), block=False)
    assert [stage.hear(), stage.hear()] == ["on_start", "sleeping"]
    stopped = ref.stop(block=False)
    late = ref.ask("too late", block=False)
    assert busy.get(timeout=LIMIT_S) == "slept"
    assert stopped.get(timeout=LIMIT_S) is True
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=LIMIT_S)


def test_the_dead_are_asked_and_told_in_vain(dead: pykka.ActorRef[Any]) -> None:
    words = f"^{re.escape(str(dead))} not found$"
    with pytest.raises(pykka.ActorDeadError, match=words):
        dead.tell("hello?")
    with pytest.raises(pykka.ActorDeadError, match=words):
        dead.ask("hello?", timeout=LIMIT_S)
    future = dead.ask("hello?", block=False)
    with pytest.raises(pykka.ActorDeadError, match=words):
        future.get(timeout=LIMIT_S)
    with pytest.raises(pykka.ActorDeadError, match=words):
        dead.proxy()


def test_the_ref_of_the_dead_is_still_found_in_a_proxy(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    ref.stop(block=True, timeout=LIMIT_S)
    assert proxy.actor_ref is ref
    with pytest.raises(pykka.ActorDeadError):
        proxy.add(1).get(timeout=LIMIT_S)


# -- identity -------------------------------------------------------------------------------------


def test_a_ref_says_whose_it_is(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    assert isinstance(ref, pykka.ActorRef)
    assert ref.actor_class is stage.actor_class
    assert uuid.UUID(ref.actor_urn)
    assert ref.proxy().actor_urn.get(timeout=LIMIT_S) == ref.actor_urn
    assert stage.actor_class.__name__ in str(ref)
    assert str(ref) in repr(ref)


def test_refs_of_one_actor_are_one_ref(ref: pykka.ActorRef[Any]) -> None:
    same = ref.proxy().myself().get(timeout=LIMIT_S)
    assert same is ref
    assert same == ref
    assert len({same, ref}) == 1


def test_a_ref_is_for_messages_and_not_for_pickles(ref: pykka.ActorRef[Any]) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(ref)


def test_refs_of_two_actors_differ(stage: Stage) -> None:
    one, other = stage.start(), stage.start()
    assert one != other
    assert one.actor_urn != other.actor_urn


# -- registry -------------------------------------------------------------------------------------


def test_the_registry_finds_it_while_it_lives(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is ref
    assert ref in pykka.ActorRegistry.get_by_class(stage.actor_class)
    assert ref in pykka.ActorRegistry.get_by_class(pykka.ThreadingActor)
    assert ref in pykka.ActorRegistry.get_by_class_name(stage.actor_class.__name__)
    assert ref in pykka.ActorRegistry.get_all()
    assert pykka.ActorRegistry.get_by_urn("urn:uuid:nobody's") is None
    ref.stop(block=True, timeout=LIMIT_S)
    wait_dead(ref)
    ends = time.monotonic() + LIMIT_S
    while pykka.ActorRegistry.get_by_urn(ref.actor_urn) is not None:
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_a_broadcast_reaches_all_of_a_class(stage: Stage) -> None:
    refs = [stage.start(), stage.start()]
    pykka.ActorRegistry.broadcast("to all", stage.actor_class)
    pykka.ActorRegistry.broadcast("by name", stage.actor_class.__name__)
    for ref in refs:
        assert ref.ask({"command": "seen"}, timeout=LIMIT_S) == ["to all", "by name"]


def test_a_broadcast_without_a_class_reaches_everybody(stage: Stage) -> None:
    refs = [stage.start(), stage.start()]
    pykka.ActorRegistry.broadcast({"event": "to everybody"})
    assert stage.hear() == "to everybody"
    for ref in refs:
        assert ref.ask({"command": "seen"}, timeout=LIMIT_S) == [{"event": "to everybody"}]


def test_the_registry_stops_the_latest_first(stage: Stage) -> None:
    refs = [stage.start(stage.ear, word="last words") for _ in range(3)]
    assert [stage.hear() for _ in refs] == ["on_start"] * 3
    # Over memory the ear has a second ref.
    assert stage.nodes or pykka.ActorRegistry.get_all() == [stage.ear, *refs]
    assert pykka.ActorRegistry.stop_all(block=True, timeout=LIMIT_S)[:3] == [True] * 3
    assert [stage.hear() for _ in refs] == [f"{ref.actor_urn} ends" for ref in refs[::-1]]


# -- proxies --------------------------------------------------------------------------------------


def test_a_proxy_calls_methods(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    assert proxy.add(2).get(timeout=LIMIT_S) == 3
    assert proxy.add(2, b=5).get(timeout=LIMIT_S) == 7
    with pytest.raises(ValueError, match="by proxy"):
        proxy.fail("by proxy").get(timeout=LIMIT_S)
    assert ref.is_alive()


def test_a_deferred_call_is_a_tell(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    assert stage.hear() == "on_start"
    assert ref.proxy().note.defer("noted") is None
    assert stage.hear() == "noted"
    ref.proxy().fail.defer("fatal")
    assert stage.hear() == "on_failure ValueError: fatal"
    wait_dead(ref)


def test_a_proxy_reads_and_writes_attributes(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    assert proxy.word.get(timeout=LIMIT_S) == "none"
    assert proxy.a_class_attribute.get(timeout=LIMIT_S) == "class"
    proxy.word = "changed"
    proxy.brand_new = 7
    proxy = ref.proxy()
    assert proxy.word.get(timeout=LIMIT_S) == "changed"
    assert proxy.brand_new.get(timeout=LIMIT_S) == 7


def test_a_proxy_uses_properties(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    assert proxy.upper.get(timeout=LIMIT_S) == "NONE"
    proxy.upper = "LOUD"
    assert proxy.word.get(timeout=LIMIT_S) == "loud"
    with pytest.raises(ValueError, match="empty"):
        proxy.upper = ""


def test_a_proxy_sees_attributes_that_came_later(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    with pytest.raises(AttributeError):
        _ = proxy.grown
    proxy.grow().get(timeout=LIMIT_S)
    assert proxy.grown.get(timeout=LIMIT_S) is True


def test_a_proxy_calls_methods_that_came_later(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    proxy.grow().get(timeout=LIMIT_S)
    assert proxy.sing().get(timeout=LIMIT_S) == "la"


def test_a_proxy_looks_at_a_property_only_when_it_is_asked_for(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    assert "looked" in dir(ref.proxy())
    assert proxy.looks.get(timeout=LIMIT_S) == 0
    assert proxy.looked.get(timeout=LIMIT_S) == 1


def test_a_property_that_cannot_be_set_says_so(ref: pykka.ActorRef[Any]) -> None:
    with pytest.raises(AttributeError):
        ref.proxy().looked = 3
    assert ref.is_alive()


def test_what_is_not_marked_is_not_traversed(ref: pykka.ActorRef[Any]) -> None:
    part = ref.proxy().plain_part
    assert isinstance(part, pykka.Future)
    assert part.get(timeout=LIMIT_S) == {"deep": 1}


def test_a_proxy_that_an_actor_keeps_of_itself_is_not_shown(stage: Stage) -> None:
    """Nor does an attribute that will not be compared hide the others."""
    proxy = stage.start(word="mirror").proxy()
    assert proxy.add(1).get(timeout=LIMIT_S) == 2
    assert "bristly" in dir(proxy)
    with pytest.raises(AttributeError, match="no attribute 'mirror'"):
        _ = proxy.mirror


def test_an_actor_may_give_itself_work_by_proxy(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    assert stage.hear() == "on_start"
    ref.proxy().note_later("second").get(timeout=LIMIT_S)
    assert [stage.hear(), stage.hear()] == ["first", "second"]


def test_a_proxy_may_be_made_as_pykka_makes_it(ref: pykka.ActorRef[Any]) -> None:
    proxy: Any = pykka.ActorProxy(actor_ref=ref)
    assert proxy.add(2).get(timeout=LIMIT_S) == 3
    assert proxy.word.get(timeout=LIMIT_S) == "none"
    assert proxy.player.play("it").get(timeout=LIMIT_S) == "playing it"
    with pytest.raises(AttributeError):
        _ = proxy.grown
    proxy.grow().get(timeout=LIMIT_S)
    assert proxy.grown.get(timeout=LIMIT_S) is True
    assert {"add", "word", "player"} <= set(dir(proxy))
    assert proxy == ref.proxy() == pykka.ActorProxy(actor_ref=ref)
    assert len({proxy, ref.proxy()}) == 1


def test_a_proxy_has_no_private_and_no_unknown_names(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    with pytest.raises(AttributeError):
        proxy._secret.get(timeout=LIMIT_S)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        proxy.nonsense()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        proxy.nonsense.defer()
    assert {"add", "word", "player"} <= set(dir(proxy))


def test_a_proxy_goes_through_traversable_attributes(ref: pykka.ActorRef[Any]) -> None:
    player = ref.proxy().player
    assert player.play("a song").get(timeout=LIMIT_S) == "playing a song"
    assert player.volume.get(timeout=LIMIT_S) == 3
    player.volume = 8
    assert ref.proxy().player.volume.get(timeout=LIMIT_S) == 8


def test_proxies_of_one_actor_are_equal(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    assert ref.proxy() == ref.proxy()
    assert hash(ref.proxy()) == hash(ref.proxy())
    assert ref.proxy() != stage.start().proxy()
    assert ref.proxy() != ref
    assert ref.proxy() != ref.proxy().player
    assert "player" in repr(ref.proxy().player)
    assert str(ref) in repr(ref.proxy())
    assert ref.proxy().actor_ref is ref


def test_a_proxy_can_stop_its_actor(ref: pykka.ActorRef[Any]) -> None:
    ref.proxy().stop()
    wait_dead(ref)


# -- futures --------------------------------------------------------------------------------------


def add(a: int, b: int) -> int:
    return a + b


def test_futures_are_combined(ref: pykka.ActorRef[Any]) -> None:
    proxy = ref.proxy()
    items: pykka.Future[Any] = proxy.items()
    one: pykka.Future[int] = proxy.add(0)
    two, three = proxy.add(1), proxy.add(2)
    assert one.join(two, three).get(timeout=LIMIT_S) == [1, 2, 3]
    assert pykka.get_all([one, two], timeout=LIMIT_S) == [1, 2]
    assert one.map(lambda x: x * 10).get(timeout=LIMIT_S) == 10
    assert items.filter(lambda x: bool(x > 2)).get(timeout=LIMIT_S) == [3, 4]
    assert items.reduce(add).get(timeout=LIMIT_S) == 10
    assert items.reduce(add, 5).get(timeout=LIMIT_S) == 15


def test_a_future_can_be_awaited(ref: pykka.ActorRef[Any]) -> None:
    async def wait() -> Any:
        return await ref.proxy().add(4)

    assert asyncio.run(wait()) == 5


def test_a_combined_future_has_the_time_limits_of_its_parts(
    ref: pykka.ActorRef[Any], tmp_path: Path
) -> None:
    slow = ref.ask(until_go(tmp_path), block=False)
    combined: list[pykka.Future[Any]] = [
        slow.map(str),
        slow.join(slow),
        slow.filter(bool),
        slow.reduce(add),
    ]
    for future in combined:
        with pytest.raises(pykka.Timeout):
            future.get(timeout=0.01)
    go(tmp_path)
    assert slow.map(len).get(timeout=LIMIT_S) == 5


def test_what_is_no_list_is_neither_filtered_nor_reduced(ref: pykka.ActorRef[Any]) -> None:
    number: pykka.Future[Any] = ref.proxy().add(1)
    for future in (number.filter(bool), number.reduce(add)):
        with pytest.raises(TypeError, match="iter"):
            future.get(timeout=LIMIT_S)


def test_a_function_is_mapped_over_an_answer_once(ref: pykka.ActorRef[Any]) -> None:
    calls: list[Any] = []
    mapped = ref.ask({"key": 1}, block=False).map(calls.append)
    assert mapped.get(timeout=LIMIT_S) is None
    assert mapped.get(timeout=LIMIT_S) is None
    assert calls == [{"key": 1}]


def test_an_answer_that_is_there_takes_no_hook(ref: pykka.ActorRef[Any]) -> None:
    future = ref.ask("there", block=False)
    assert future.get(timeout=LIMIT_S) == "there"
    with pytest.raises(queue.Full):
        future.set_get_hook(lambda _timeout: "other")
    assert future.get(timeout=LIMIT_S) == "there"


def test_a_failure_goes_through_map(ref: pykka.ActorRef[Any]) -> None:
    with pytest.raises(ValueError, match="inner"):
        ref.proxy().fail("inner").map(str).get(timeout=LIMIT_S)


# -- what pykka leaves open -----------------------------------------------------------------------


@pytest.fixture
def guarded(stage: Stage) -> pykka.ActorRef[Any]:
    """One that is not pykka's alone: of the others these hold."""
    if stage.kind == "pykka":
        pytest.skip("plain pykka leaves the asker waiting: docs/actors.md")
    return stage.start(stage.ear)


def test_who_asks_one_that_ends_by_a_base_exception_is_answered(
    guarded: pykka.ActorRef[Any],
) -> None:
    future = guarded.ask({"command": "raise base"}, block=False)
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=LIMIT_S)
    assert guarded.actor_stopped.wait(LIMIT_S)


def test_a_future_that_is_set_by_somebody_else_does_not_harm_the_actor(
    guarded: pykka.ActorRef[Any], tmp_path: Path
) -> None:
    future = guarded.ask(until_go(tmp_path), block=False)
    future.set("too early")
    assert future.get(timeout=LIMIT_S) == "too early"
    go(tmp_path)
    assert guarded.ask("alive", timeout=LIMIT_S) == "alive"


def test_asks_that_race_with_the_end_are_all_answered(guarded: pykka.ActorRef[Any]) -> None:
    futures: list[pykka.Future[Any]] = []
    stopping = threading.Thread(target=lambda: guarded.stop(block=False), name="stopper")
    for number in range(400):
        if number == 100:
            stopping.start()
        futures.append(guarded.ask(number, block=False))
    stopping.join()
    ends = time.monotonic() + LIMIT_S
    for number, future in enumerate(futures):
        try:
            answer = future.get(timeout=max(0.0, ends - time.monotonic()))
        except pykka.ActorDeadError:
            continue
        assert answer == number
    assert guarded.actor_stopped.wait(LIMIT_S)


def test_one_that_ends_by_a_base_exception_takes_its_process_along_and_no_other(
    stage: Stage,
) -> None:
    ref, other = stage.start(stage.ear), stage.start()
    assert stage.hear() == "on_start"
    ref.tell({"command": "raise base"})
    wait_dead(ref)
    if not stage.is_remote:
        # As pykka has it: all actors that the registry has.
        wait_dead(stage.ear)
        return
    assert stage.hear() == "on_stop"
    while len(stage.system.names()) > 1:
        time.sleep(0.001)
    assert stage.ear.is_alive()
    assert other.ask("still here", timeout=LIMIT_S) == "still here"


def test_one_in_another_process_outlives_any_that_falls_here(stage: Stage) -> None:
    far, ref = stage.system.spawn(stage.actor_class, process=True), stage.start(stage.ear)
    assert stage.hear() == "on_start"
    ref.tell({"command": "raise base"})
    wait_dead(ref)
    if not stage.is_remote:
        # All are stopped, the latest first: `far` has had its turn.
        wait_dead(stage.ear)
    assert far.ask("still here", timeout=LIMIT_S) == "still here"


def test_who_stops_all_while_it_deals_with_an_exit_means_those_of_other_processes_too(
    stage: Stage,
) -> None:
    far = stage.system.spawn(stage.actor_class, process=True)
    try:
        sys.exit("out of here")
    except SystemExit:
        pykka.ActorRegistry.stop_all(block=True, timeout=LIMIT_S)
    assert not far.is_alive()


# -- where ours differ from pykka's, as docs/actors.md says ---------------------------------------


def test_a_stop_keeps_its_place_in_a_plain_actor_and_overtakes_in_ours(
    stage: Stage, ref: pykka.ActorRef[Any]
) -> None:
    busy = ref.ask(until_behind(2), block=False)
    assert [stage.hear(), stage.hear()] == ["on_start", "sleeping"]
    ref.proxy().note.defer("before the stop")
    stopped = ref.stop(block=False)
    assert busy.get(timeout=LIMIT_S) == "slept"
    assert stopped.get(timeout=LIMIT_S) is True
    last = ["before the stop", "on_stop"] if stage.is_plain else ["on_stop"]
    assert [stage.hear() for _ in last] == last


def test_messages_to_elsewhere_are_copies_of_plain_data(
    stage: Stage, ref: pykka.ActorRef[Any]
) -> None:
    message = {"list": [1], "tuple": (1, 2)}
    answer = ref.ask(message, timeout=LIMIT_S)
    if not stage.is_remote and not stage.nodes:
        assert answer is message
        return
    assert answer == {"list": [1], "tuple": [1, 2]}
    for thing in (object(), lambda: None):
        with pytest.raises(EncodeError):
            ref.tell(thing)
        with pytest.raises(EncodeError):
            ref.ask(thing, timeout=LIMIT_S)
    assert ref.ask("still there", timeout=LIMIT_S) == "still there"


def test_an_exception_that_is_not_known_here_comes_with_its_name_and_traceback(
    stage: Stage, ref: pykka.ActorRef[Any]
) -> None:
    if not stage.is_remote and not stage.nodes:
        with pytest.raises(actors.Peculiar):
            ref.proxy().fail_peculiarly().get(timeout=LIMIT_S)
        return
    with pytest.raises(RemoteError, match="Peculiar: indeed") as raised:
        ref.proxy().fail_peculiarly().get(timeout=LIMIT_S)
    assert "fail_peculiarly" in raised.value.traceback_text


def test_a_future_does_not_leave_its_process(stage: Stage, ref: pykka.ActorRef[Any]) -> None:
    answer = ref.proxy().get_future()
    if stage.is_remote or stage.nodes:
        with pytest.raises(EncodeError):
            answer.get(timeout=LIMIT_S)
    else:
        assert answer.get(timeout=LIMIT_S).get(timeout=LIMIT_S) == 2
