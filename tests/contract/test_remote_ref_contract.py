# pyright: reportPrivateUsage=false, reportUnknownLambdaType=false
# A fault test looks at what is inside; pykka types what a future holds as unknown.
"""What a ref to an actor of another node must do, over sockets and in memory, with either codec."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pykka
import pytest
from fakes.nests import depth_of, nest
from fakes.node_pair import Pair, until

from understudy.transport import (
    Address,
    DeadlockError,
    DecodeError,
    EncodeError,
    MailboxActor,
    MailboxFull,
    MailboxSpec,
    MemoryHub,
    MemoryNode,
    Node,
    NodeError,
    Overflow,
    RemoteError,
    RemoteRef,
    register_exception,
    set_wait_observer,
    waiting,
)
from understudy.transport.node_base import NodeBase


class Part:
    pykka_traversable = True

    def double(self, number: int) -> int:
        return number * 2


class Actor(MailboxActor):
    colour = "red"

    def __init__(self, start: int = 0) -> None:
        super().__init__()
        self.number = start
        self.part = Part()
        self.got: list[Any] = []
        self.ended = ""

    def add(self, number: int, *, times: int = 1) -> int:
        self.number += number * times
        return self.number

    def fail(self) -> None:
        raise KeyError("no such thing", 7)

    def fail_strangely(self) -> None:
        raise OddError("odd")

    def fail_with_code(self) -> None:
        error = CodedError(42)
        error.add_note("look there")
        raise error

    def open_nothing(self) -> None:
        Path("/nope/nothing").read_bytes()

    def depths(self) -> list[int]:
        return [depth_of(message) for message in self.got]

    def thing(self) -> object:
        return object()

    def unreadable(self) -> object:
        return UNREADABLE

    def fail_unreadably(self) -> None:
        raise KeyError(UNREADABLE)

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        return message


class Plain(pykka.ThreadingActor):
    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        return message


@dataclasses.dataclass(frozen=True)
class Key:
    """Travels as a map: what has it for a key can be written, and not read."""

    name: str = "a"


UNREADABLE = {Key(): 1}


class OddError(Exception):
    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.oddity = 3


class CodedError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code is {code}")
        self.code = code
        self.way = ("a", "b")


@pytest.mark.parametrize("actor_class", [Actor, Plain])
def test_an_ask_gets_the_answer_and_a_tell_arrives_before_it(
    pair: Pair, actor_class: type[pykka.ThreadingActor]
) -> None:
    ref = pair.start(actor_class)
    ref.tell({"a": [1, None, 2.5, b"x", "é"]})
    assert ref.ask("hi", timeout=5) == "hi"
    assert ref.proxy().got.get(timeout=5) == [{"a": [1, None, 2.5, b"x", "é"]}, "hi"]


def test_an_answer_may_be_waited_for_later(pair: Pair) -> None:
    ref = pair.start(Actor)
    futures = [ref.ask(number, block=False) for number in range(500)]
    assert pykka.get_all(futures, timeout=5) == list(range(500))
    assert futures[3].map(lambda number: number + 1).get(timeout=1) == 4


def test_a_proxy_calls_methods_and_reads_and_sets_attributes(pair: Pair) -> None:
    ref = pair.start(Actor, 5)
    proxy: Any = ref.proxy()
    assert proxy.add(2, times=3).get(timeout=5) == 11
    assert proxy.colour.get(timeout=5) == "red"
    proxy.number = 40
    again: Any = ref.proxy()
    assert again.number.get(timeout=5) == 40
    again.add.defer(2)
    assert again.number.get(timeout=5) == 42
    assert proxy.part.double(4).get(timeout=5) == 8
    with pytest.raises(AttributeError):
        _ = proxy.nothing
    assert "add" in dir(proxy)
    assert isinstance(proxy, pykka.ActorProxy)


def test_an_attribute_that_was_made_later_is_found(pair: Pair) -> None:
    local = Actor.start()
    proxy = pair.seen(local).proxy()
    actor = local._actor_weakref()
    assert actor is not None
    actor.later = 3  # type: ignore[attr-defined]
    assert proxy.later.get(timeout=5) == 3


def test_an_exception_of_a_known_class_comes_as_itself(pair: Pair) -> None:
    with pytest.raises(KeyError) as caught:
        pair.start(Actor).proxy().fail().get(timeout=5)
    assert caught.value.args == ("no such thing", 7)
    assert 'raise KeyError("no such thing", 7)' in str(caught.value.__cause__)


def test_a_rebuilt_exception_has_the_args_and_fields_of_the_original(pair: Pair) -> None:
    register_exception(CodedError)
    proxy = pair.start(Actor).proxy()
    with pytest.raises(CodedError) as caught:
        proxy.fail_with_code().get(timeout=5)
    assert str(caught.value) == "code is 42"
    assert vars(caught.value) == {"code": 42, "way": ("a", "b"), "__notes__": ["look there"]}
    with pytest.raises(FileNotFoundError) as missing:
        proxy.open_nothing().get(timeout=5)
    assert (missing.value.errno, missing.value.filename) == (2, "/nope/nothing")


def test_an_exception_of_another_class_comes_as_a_description(pair: Pair) -> None:
    with pytest.raises(RemoteError) as caught:
        pair.start(Actor).proxy().fail_strangely().get(timeout=5)
    assert caught.value.type_name.endswith(":OddError")
    assert "raise OddError" in caught.value.traceback_text
    assert caught.value.fields == {"oddity": 3}


def test_what_cannot_travel_is_an_error_of_who_says_it_and_nothing_else(pair: Pair) -> None:
    ref = pair.start(Actor)
    with pytest.raises(EncodeError):
        ref.tell(object())
    with pytest.raises(EncodeError):
        ref.ask(object())
    with pytest.raises(EncodeError):
        ref.proxy().thing().get(timeout=5)
    assert ref.ask("still there", timeout=5) == "still there"


def test_a_message_that_is_odd_to_one_codec_arrives_and_costs_no_link(pair: Pair) -> None:
    ref = pair.start(Actor)
    assert ref.ask({(1, 2): {3}}, timeout=5) == {(1, 2): [3]}
    ref.tell([nest(900)])
    ref.tell({"after": 1})
    assert ref.proxy().depths().get(timeout=5) == [0, 901, 0]
    assert ref.is_alive()


def test_what_no_reader_can_take_is_an_error_for_who_waits_and_costs_nothing_else(
    pair: Pair,
) -> None:
    ref = pair.start(Actor)
    proxy: Any = ref.proxy()
    before = [ref.ask(number, block=False) for number in range(50)]
    bad = [
        ref.ask(UNREADABLE, block=False),
        proxy.add(1, times=UNREADABLE),
        proxy.unreadable(),
        proxy.fail_unreadably(),
    ]
    after = [ref.ask(number, block=False) for number in range(50)]
    for future in bad:
        with pytest.raises(DecodeError, match="hashable"):
            future.get(timeout=5)
    assert pykka.get_all(before + after, timeout=5) == [*range(50), *range(50)]
    assert ref.is_alive()
    assert pair.here.stats().malformed + pair.there.stats().malformed == 4


def test_a_control_call_that_no_reader_can_take_is_answered_so(pair: Pair) -> None:
    pair.there.on_control("ping", lambda _peer, _incarnation, payload: payload)
    with pytest.raises(DecodeError, match="hashable"):
        pair.here.call("there", "ping", {"x": UNREADABLE}, timeout_s=5)
    assert pair.here.call("there", "ping", {"x": 1}, timeout_s=5) == {"x": 1}
    assert pair.there.stats().malformed == 1


def test_a_tell_that_no_reader_can_take_is_counted_and_its_room_comes_back(pair: Pair) -> None:
    ref = pair.start(Picky)
    for number in range(100):
        ref.tell(UNREADABLE)
        assert ref.ask(number, timeout=5) == number
    assert ref.proxy().got.get(timeout=5) == list(range(100))
    assert pair.there.stats().malformed == 100


def test_a_message_of_many_megabytes_arrives(pair: Pair) -> None:
    ref = pair.start(Actor)
    data = bytes(range(256)) * (20 << 12)
    futures = [ref.ask({"n": n, "data": data}, block=False) for n in range(3)]
    for number, future in enumerate(futures):
        assert future.get(timeout=20) == {"n": number, "data": data}


def test_a_stop_ends_the_actor_and_its_refs(pair: Pair) -> None:
    ref = pair.start(Actor)
    assert ref.is_alive()
    assert ref.stop(timeout=5) is True
    until(lambda: not ref.is_alive())
    assert ref.stop(timeout=5) is False
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(1)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask(1)
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()


def test_whoever_knows_an_actor_hears_that_it_failed(pair: Pair) -> None:
    heard: list[tuple[str, str]] = []
    pair.here.on_actor_stopped = lambda address, reason: heard.append((address.key, reason))
    ref = pair.start(Actor, actor_id="a")
    assert ref.ask(1, timeout=5) == 1
    ref.proxy().fail.defer()
    until(lambda: heard)
    assert heard == [("there/a", "KeyError: ('no such thing', 7)")]
    assert not ref.is_alive()


def test_a_ref_to_an_actor_that_never_was_is_found_dead(pair: Pair) -> None:
    nobody = Address("there", "nobody", 1, "x:Y", "urn:nobody", 10, 1000, 1.0)
    ref = pair.here.ref(nobody)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask(1, timeout=5)
    until(lambda: not ref.is_alive())
    assert pair.there.stats().undeliverable == 1


def test_refs_are_one_object_an_actor_and_are_found_in_the_registry(pair: Pair) -> None:
    local = Actor.start()
    address = pair.there.host(local, actor_id="one")
    ref = pair.here.ref(address)
    assert pair.here.ref(address) is ref
    assert pair.there.ref(address) is local
    assert ref in pykka.ActorRegistry.get_by_class(Actor)
    assert ref in pykka.ActorRegistry.get_by_class_name("Actor")
    assert pykka.ActorRegistry.get_by_urn(local.actor_urn) in (local, ref)
    pykka.ActorRegistry.broadcast("to all", Actor)
    assert ref.ask("x", timeout=5) == "x"
    assert ref.proxy().got.get(timeout=5).count("to all") == 2


def test_refs_travel_and_come_home_as_the_actor_itself(pair: Pair) -> None:
    ref, mine = pair.start(Actor), Actor.start()
    assert ref.ask({"to": mine, "self": ref}, timeout=5) == {"to": mine, "self": ref}


def test_a_ref_of_another_system_is_refused_where_it_would_mean_somebody_else(pair: Pair) -> None:
    foreign, namesake = pair.start(Actor, actor_id="a"), Actor.start()
    hub = MemoryHub()
    here, there = MemoryNode("here", hub), MemoryNode("there", hub)
    other = here.ref(there.host(namesake, actor_id="a"))
    with pytest.raises(EncodeError, match="another system"):
        other.tell({"ask": foreign})
    assert other.ask({"ask": other}, timeout=5) == {"ask": other}
    assert actor_of(namesake).got == [{"ask": namesake}]
    for node in (here, there):
        node.close()


def test_a_class_that_this_process_lacks_keeps_its_name(pair: Pair) -> None:
    stranger = Address("there", "s", 1, "no.such.module:Stranger", "urn:s", 10, 1000, 1.0)
    ref = pair.here.ref(stranger)
    assert ref.actor_class.__name__ == "Stranger"
    assert issubclass(ref.actor_class, pykka.Actor)


class Slow(Actor):
    mailbox = MailboxSpec(max_messages=8, block_timeout_s=0.2)

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.arrived = threading.Event()

    def on_receive(self, message: Any) -> Any:
        self.arrived.set()
        assert self.open.wait(20)
        return super().on_receive(message)


class Refusing(Slow):
    mailbox = MailboxSpec(max_messages=8, overflow=Overflow.REJECT)


def actor_of(ref: pykka.ActorRef[Any]) -> Any:
    actor = ref._actor_weakref()
    assert actor is not None
    return actor


def fill(ref: pykka.ActorRef[Any]) -> int:
    """Tell until there is no room; how much there was."""
    for number in range(100):
        try:
            ref.tell(number)
        except MailboxFull as error:
            full = error
            break
    else:
        pytest.fail("a hundred messages had room")
    assert full.messages >= 1
    assert full.size_bytes > full.messages
    return number


def test_a_sender_is_held_and_then_refused_when_the_mailbox_stays_full(pair: Pair) -> None:
    local = Slow.start()
    ref = pair.seen(local)
    before = time.monotonic()
    sent = fill(ref)
    assert time.monotonic() - before >= 0.2
    assert sent <= 8 + 4
    actor_of(local).open.set()
    # The room comes back in its own time, and a tell waits for it no longer than the others did.
    until(lambda: ref.outlet is not None and ref.outlet.has_room)
    ref.tell("after")
    until(lambda: actor_of(local).got[-1:] == ["after"])
    assert actor_of(local).got == [*range(sent), "after"]


class Patient(Slow):
    mailbox = MailboxSpec(max_messages=8, block_timeout_s=20)


def held(ref: RemoteRef, send: Callable[[], object]) -> list[BaseException]:
    """A send that waits for room; what it raises, once it does."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            send()
        except (pykka.ActorDeadError, MailboxFull) as error:
            raised.append(error)

    assert ref.outlet is not None
    rooms = ref.outlet.session._rooms
    waiting_already = len(rooms)
    threading.Thread(target=run, daemon=True).start()
    until(lambda: len(rooms) > waiting_already)
    return raised


def test_senders_that_are_held_hear_at_once_that_the_actor_has_ended(pair: Pair) -> None:
    local = Patient.start()
    ref = pair.seen(local)
    for number in range(8):
        ref.tell(number)
    assert actor_of(local).arrived.wait(5)
    told = held(ref, lambda: ref.tell("held"))
    asked = held(ref, lambda: ref.ask("held", timeout=20))
    local.stop(block=False)
    actor_of(local).open.set()
    until(lambda: told and asked)
    for error in (*told, *asked):
        assert isinstance(error, pykka.ActorDeadError)


def test_senders_that_are_held_hear_at_once_that_the_peer_is_gone(pair: Pair) -> None:
    local = Patient.start()
    ref = pair.seen(local)
    for number in range(8):
        ref.tell(number)
    told = held(ref, lambda: ref.tell("held"))
    pair.here.peer_gone("there", "its process is over", at_once=False)
    until(lambda: told)
    assert isinstance(told[0], pykka.ActorDeadError)
    actor_of(local).open.set()


def test_a_sender_is_refused_at_once_where_the_mailbox_says_so(pair: Pair) -> None:
    local = Refusing.start()
    ref = pair.seen(local)
    fill(ref)
    with pytest.raises(MailboxFull):
        ref.ask("no room", timeout=20)
    actor_of(local).open.set()


class Narrow(Actor):
    mailbox = MailboxSpec(max_bytes=20_000, block_timeout_s=15)


def test_large_messages_among_small_ones_for_another_actor_use_no_room_up(pair: Pair) -> None:
    large, small = pair.start(Narrow), pair.start(Actor)
    for _ in range(100):
        large.tell("x" * 5_000)
        for number in range(20):
            small.tell(number)
    assert large.ask("last", timeout=5) == "last"


class Picky(Actor):
    mailbox = MailboxSpec(max_messages=10, overflow=Overflow.REJECT)


def test_a_mailbox_that_refuses_has_all_its_room_again_when_it_is_empty(pair: Pair) -> None:
    local = Picky.start()
    ref = pair.seen(local)
    for taken in range(1, 9):
        for number in range(taken):
            ref.tell(number)
        until(lambda: ref.outlet is not None and ref.outlet.used() == (0, 0))
    for number in range(10):
        ref.tell(["all", number])
    until(lambda: ref.outlet is not None and ref.outlet.used() == (0, 0))
    assert ref.proxy().got.get(timeout=5)[-10:] == [["all", number] for number in range(10)]


def test_a_mailbox_that_refuses_keeps_nothing_of_links_that_have_ended(pair: Pair) -> None:
    local = Picky.start()
    ref = pair.seen(local)
    for number in range(5):
        assert ref.ask(number, timeout=5) == number
        for session in pair.here._live_sessions():
            pair.here._end(session, "cut", is_restart=False)

    def is_forgotten() -> bool:
        ref.ask("x", timeout=5)
        return len(actor_of(local).actor_inbox._exact) == 1

    until(is_forgotten)


def test_a_request_whose_time_is_over_is_not_started(pair: Pair) -> None:
    local = Slow.start()
    ref = pair.seen(local)
    ref.tell("first")
    with pytest.raises(pykka.Timeout):
        ref.ask("too late", timeout=0.05)
    actor_of(local).open.set()
    assert ref.ask("in time", timeout=5) == "in time"
    assert actor_of(local).got == ["first", "in time"]


def test_a_stop_overtakes_a_full_mailbox(pair: Pair) -> None:
    local = Slow.start()
    ref = pair.seen(local)
    futures = [ref.ask(number, block=False) for number in range(8)]
    assert actor_of(local).arrived.wait(5)
    stopping = ref.stop(block=False)
    until(lambda: actor_of(local).actor_inbox.control)
    actor_of(local).open.set()
    assert stopping.get(timeout=5) is True
    assert futures[0].get(timeout=5) == 0
    for future in futures[1:]:
        with pytest.raises(pykka.ActorDeadError):
            future.get(timeout=5)


def test_a_control_message_does_not_wait_behind_a_full_mailbox(pair: Pair) -> None:
    local = Slow.start()
    ref = pair.seen(local)
    fill(ref)
    pair.there.on_control("ping", lambda peer, _incarnation, payload: {"p": peer, **payload})
    assert pair.here.call("there", "ping", {"x": 1}, timeout_s=5) == {
        "p": "here",
        "x": 1,
    }
    actor_of(local).open.set()


def test_a_control_call_that_fails_says_so(pair: Pair) -> None:
    def handler(_peer: str, _incarnation: int, _payload: dict[str, Any]) -> None:
        raise LookupError("not here")

    pair.there.on_control("find", handler)
    with pytest.raises(LookupError, match="not here"):
        pair.here.call("there", "find", {}, timeout_s=5)
    with pytest.raises(NodeError, match="knows no control verb"):
        pair.here.call("there", "what", {}, timeout_s=5)
    with pytest.raises(NodeError, match="cannot be reached"):
        pair.here.call("nobody", "what", {}, timeout_s=5)


def test_peers_come_and_go_visibly(pair: Pair) -> None:
    events: list[tuple[str, str, int]] = []
    pair.there.on_peer = lambda event: events.append((event.kind, event.name, event.incarnation))
    pair.here.cast("there", "nothing", {})
    until(lambda: events)
    assert pair.there.peers() == {"here": 1}
    pair.here.close()
    until(lambda: len(events) > 1)
    assert events == [("connected", "here", 1), ("disconnected", "here", 1)]


def test_a_successor_of_the_same_name_is_reached_by_the_old_ref(pair: Pair) -> None:
    ref = pair.start(Actor, 1, actor_id="named")
    assert ref.proxy().number.get(timeout=5) == 1
    ref.stop(timeout=5)
    until(lambda: not ref.is_alive())
    successor = Actor.start(2)
    pair.there.host(successor, actor_id="named", incarnation=2)
    until(ref.is_alive)
    assert ref.incarnation == 2
    assert ref.proxy().number.get(timeout=5) == 2


class Asker(Actor):
    def ask_other(self, other: pykka.ActorRef[Any], message: Any) -> Any:
        return other.ask(message, timeout=5)

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, dict) and "ask" in message:
            order = cast("dict[str, Any]", message)
            return order["ask"].ask({"ask": order["back"], "back": None}, timeout=5)
        return super().on_receive(message)


def test_a_chain_of_requests_that_comes_back_is_refused(pair: Pair) -> None:
    there, here = Asker.start(), Asker.start()
    pair.here.host(here, actor_id="h")
    ref = pair.seen(there, actor_id="t")
    with pytest.raises(DeadlockError) as caught:
        ref.ask({"ask": here, "back": ref}, timeout=5)
    assert caught.value.cycle == ("there/t", "here/h", "there/t")


class Watcher:
    def __init__(self) -> None:
        self.entered: list[tuple[str, str, int]] = []
        self.left: list[int] = []

    def enter(self, waiter_urn: str, target: Address, corr: int) -> None:
        self.entered.append((waiter_urn, target.key, corr))

    def leave(self, corr: int) -> None:
        self.left.append(corr)


def test_a_long_wait_is_seen_and_can_be_ended(pair: Pair) -> None:
    watcher = Watcher()
    set_wait_observer(watcher)
    slow = Slow.start()
    pair.there.host(slow, actor_id="slow")
    asker = Asker.start()
    pair.here.host(asker, actor_id="asker")
    waiting_for = asker.proxy().ask_other(pair.here.ref(pair.there.address(slow)), "x")
    until(lambda: watcher.entered)
    waiter, target, corr = watcher.entered[0]
    assert (waiter, target) == (asker.actor_urn, "there/slow")
    assert waiting.fail(corr, DeadlockError(("a", "b", "a")))
    with pytest.raises(DeadlockError):
        waiting_for.get(timeout=5)
    assert watcher.left == [corr]
    actor_of(slow).open.set()


def test_closing_a_node_fails_what_is_awaited_at_once(pair: Pair) -> None:
    slow = Slow.start()
    ref = pair.seen(slow)
    future = ref.ask("x", block=False)
    until(lambda: pair.there.stats().received > 1)
    before = time.monotonic()
    pair.there.close()
    with pytest.raises(pykka.ActorDeadError) as caught:
        future.get(timeout=5)
    assert time.monotonic() - before < 10
    assert caught.value.maybe_executed  # type: ignore[attr-defined]
    until(lambda: not ref.is_alive())
    actor_of(slow).open.set()
    assert slow.ask("local", timeout=5) == "local"


def test_a_lost_node_that_is_started_again_is_reached_by_the_old_ref(pair: Pair) -> None:
    pair.here.will_restart = lambda peer: peer == "there"
    ref = pair.start(Actor, 1, actor_id="named")
    assert ref.ask(1, timeout=5) == 1
    pair.there.close()
    until(lambda: not pair.here.peers())
    assert ref.is_alive()
    if isinstance(pair.there, Node):
        again: NodeBase = Node("there", pair.there.folder, incarnation=2)
    else:
        assert isinstance(pair.there, MemoryNode)
        again = MemoryNode("there", pair.there._hub, incarnation=2)
    try:
        again.host(Actor.start(2), actor_id="named")
        assert ref.proxy().number.get(timeout=5) == 2
        assert ref.incarnation == 2
    finally:
        again.close()


def test_many_actors_of_a_process_are_reached_and_the_last_one_still_is(pair: Pair) -> None:
    refs = [pair.start(Actor, number) for number in range(20)]
    for _ in range(20):
        futures = [ref.proxy().number for ref in refs] if _ == 0 else []
        assert pykka.get_all(futures, timeout=10) == list(range(20))[: len(futures)]
        answers = [ref.ask(number, block=False) for number, ref in enumerate(refs)]
        assert pykka.get_all(answers, timeout=10) == list(range(20))
    for ref in refs[1:]:
        assert ref.stop(timeout=5)
    until(lambda: not any(ref.is_alive() for ref in refs[1:]))
    for number in range(100):
        assert refs[0].ask(number, timeout=5) == number
    for number in range(100):
        refs[0].tell(number)
    assert refs[0].ask("end", timeout=5) == "end"


def test_askers_in_many_threads_each_get_their_own_answers(pair: Pair) -> None:
    ref = pair.start(Actor)
    wrong: list[Any] = []

    def ask(name: str) -> None:
        asked = [[name, number] for number in range(100)]
        wrong.extend(one for one in asked if ref.ask(one, timeout=10) != one)

    threads = [threading.Thread(target=ask, args=(f"t{n}",), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


class Dropping(Slow):
    mailbox = MailboxSpec(max_messages=8, overflow=Overflow.DROP_OLDEST)


def test_where_the_oldest_give_way_a_sender_is_never_refused(pair: Pair) -> None:
    local = Dropping.start()
    ref = pair.seen(local)
    ref.tell("first")
    assert actor_of(local).arrived.wait(5)
    for number in range(1_000):
        ref.tell(number)
    until(lambda: actor_of(local).actor_inbox.dropped == 992)
    actor_of(local).open.set()
    assert ref.ask("last", timeout=5) == "last"
    got = actor_of(local).got
    assert got[0] == "first"
    assert got[-1] == "last"
    assert got[1:-1] == sorted(got[1:-1])
    assert len(got) <= 10
