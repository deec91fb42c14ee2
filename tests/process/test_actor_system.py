"""The actor system on real processes."""

from __future__ import annotations

import os
import queue
import signal
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from fakes.system_actors import (
    AsksBack,
    Chained,
    Choosy,
    CountsStarts,
    Failing,
    Held,
    HoldsALock,
    Plain,
    SaysGoodbye,
    Spawning,
    StartsSlowly,
    Trapping,
    Worker,
)

from understudy.supervision import actor_processes, desk
from understudy.supervision.actor_errors import (
    ActorStartFailed,
    InvalidActor,
    NameTaken,
    SystemClosed,
    UnknownActor,
)
from understudy.supervision.backoff import Backoff
from understudy.supervision.errors import InvalidSpec
from understudy.supervision.spec import SupervisorSpec
from understudy.supervision.system import ActorSystem
from understudy.transport.address import Address
from understudy.transport.errors import ActorLost, ActorRestarted, DeadlockError, SocketPathTooLong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from understudy.supervision.dead_letters import SystemDeadLetter
    from understudy.supervision.watch import Down

LIMIT_S = 15.0


@pytest.fixture(scope="module")
def one_system() -> Iterator[ActorSystem]:
    with ActorSystem("tests", preload=["fakes.system_actors"]) as made:
        yield made


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="us-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def system(one_system: ActorSystem) -> Iterator[ActorSystem]:
    yield one_system
    one_system.stop_all()
    assert one_system.names() == []


def get(future: pykka.Future[Any]) -> Any:
    return future.get(timeout=LIMIT_S)


def eventually(condition: Callable[[], Any]) -> Any:
    ends = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.002)
    return found


def pid(ref: pykka.ActorRef[Any]) -> int:
    return int(get(ref.proxy().pid()))


def thread_states(number: int) -> set[str]:
    stats = Path(f"/proc/{number}/task").glob("*/stat")
    return {path.read_text().rpartition(")")[2].split()[0] for path in stats}


def is_incarnation(ref: pykka.ActorRef[Any], number: int) -> bool:
    try:
        return bool(get(ref.proxy().incarnation()) == number)
    except pykka.ActorDeadError:
        # Between two incarnations nobody is there to ask.
        return False


def root_incarnation(system: ActorSystem, name: str) -> int:
    found = system._request("find", {"name": name}, LIMIT_S)  # pyright: ignore[reportPrivateUsage]
    return Address.from_wire(found["address"]).incarnation


def down_of(system: ActorSystem, ref: pykka.ActorRef[Any]) -> queue.SimpleQueue[Down]:
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()
    system.watch(ref, downs.put)
    return downs


# -- spawning -------------------------------------------------------------------------------------


def test_an_answer_does_not_wait_for_what_was_told_behind_its_question(
    system: ActorSystem, tmp_path: Path
) -> None:
    ref = system.spawn(Held, process=True)
    ref.tell({"until": str(tmp_path / "first")})
    asked = ref.ask({"answer": 7}, block=False)
    ref.tell({"until": str(tmp_path / "second")})
    (tmp_path / "first").touch()
    assert asked.get(timeout=LIMIT_S) == {"answer": 7}
    (tmp_path / "second").touch()


def test_an_actor_has_a_process_of_its_own_when_asked_for(system: ActorSystem) -> None:
    assert pid(system.spawn(Worker)) == os.getpid()
    assert pid(system.spawn(Worker, process=True)) != os.getpid()
    assert pid(system.spawn(Plain, process=True)) != os.getpid()


@pytest.mark.parametrize("process", [False, True])
def test_a_name_is_found_from_everywhere_until_its_actor_ends(
    system: ActorSystem, process: bool
) -> None:
    other = system.spawn(Worker, process=True, name="other")
    named = system.spawn(Worker, process=process, name="named")
    assert system.find("named") is named
    assert get(other.proxy().find("named")) is named
    with pytest.raises(NameTaken, match="an actor 'named' already"):
        system.spawn(Worker, name="named")
    named.stop()
    eventually(lambda: "named" not in system.names())
    with pytest.raises(UnknownActor, match="no actor 'named'; there are: other"):
        system.find("named")
    assert pid(system.spawn(Worker, process=process, name="named"))


def test_an_actor_in_another_process_says_goodbye_with_its_own_ref(system: ActorSystem) -> None:
    boss = system.spawn(Choosy)
    leaves = system.spawn(SaysGoodbye, boss, process=True, shutdown_s=LIMIT_S)
    leaves.stop()
    (message,) = eventually(lambda: get(boss.proxy().get_got()))
    assert message == {"bye": leaves}
    assert not leaves.is_alive()


@pytest.mark.parametrize("actor_class", [Worker, Plain])
def test_an_actor_may_be_given_a_ref_to_one_that_is_gone(
    system: ActorSystem, actor_class: type[pykka.ThreadingActor]
) -> None:
    gone = actor_class.start()
    gone.stop()
    heir = system.spawn(Worker, gone, process=True)
    (given,) = heir.proxy().words.get(timeout=LIMIT_S)
    assert given.actor_urn == gone.actor_urn
    assert not given.is_alive()
    assert heir.ask({"still": gone}, timeout=LIMIT_S)


@pytest.mark.parametrize("process", [False, True])
def test_an_actor_that_cannot_start_is_an_error_of_who_spawns_it(
    system: ActorSystem, tmp_path: Path, process: bool
) -> None:
    with pytest.raises(ActorStartFailed, match="LookupError: no such luck"):
        system.spawn(Failing, process=process)
    (tmp_path / "flag").touch()
    with pytest.raises(ActorStartFailed, match="RuntimeError: there is the file"):
        system.spawn(Worker, process=process, fail_file=str(tmp_path / "flag"))
    with pytest.raises(ActorStartFailed, match=r"0\.2 s"):
        system.spawn(StartsSlowly, process=process, start_timeout_s=0.2)
    # A name is free when the supervisor of its process has ended, which may be after the error.
    eventually(lambda: system.names() == [])


def test_one_that_never_started_is_not_restarted(system: ActorSystem, tmp_path: Path) -> None:
    path = tmp_path / "starts"
    with pytest.raises(ActorStartFailed, match="no such luck"):
        system.spawn(
            CountsStarts, str(path), process=True, restart="permanent", backoff=Backoff(0.2)
        )
    eventually(lambda: system.names() == [])
    assert path.read_text() == "start\n"


def test_what_cannot_be_spawned_is_refused_before_anything_starts(system: ActorSystem) -> None:
    class Local(Worker):
        pass

    with pytest.raises(InvalidActor, match="class made in a function"):
        system.spawn(Local, process=True)
    with pytest.raises(InvalidActor, match="plain data or actor refs: object"):
        system.spawn(Worker, object(), process=True)
    with pytest.raises(InvalidActor, match="the name 'a/b' must be"):
        system.spawn(Worker, name="a/b")
    with pytest.raises(InvalidActor, match="process=True"):
        system.spawn(Worker, restart="permanent")
    with pytest.raises(InvalidActor, match=r"no pykka\.ThreadingActor"):
        system.spawn(str, process=True)  # type: ignore[type-var]
    with pytest.raises(InvalidSpec, match="start_timeout_s"):
        system.spawn(Worker, process=True, start_timeout_s=-1)
    with pytest.raises(InvalidSpec, match="restart"):
        system.spawn(Worker, process=True, restart="sometimes")
    with pytest.raises(InvalidActor):
        system.spawn(Worker, process=True, shutdown_s="long")  # type: ignore[arg-type]
    assert system.names() == []


def test_arguments_are_data_and_refs(system: ActorSystem) -> None:
    local = system.spawn(Worker)
    remote = system.spawn(Worker, 1, "x", None, local, {"deep": [local]}, process=True)
    assert get(remote.proxy().words) == [1, "x", None, local, {"deep": [local]}]


def test_an_actor_spawns_in_its_process_and_in_a_new_one(system: ActorSystem) -> None:
    parent = system.spawn(Worker, process=True, name="parent")
    inner = get(parent.proxy().spawn("inner", process=False))
    outer = get(parent.proxy().spawn("outer", process=True))
    assert pid(inner) == pid(parent)
    assert pid(outer) not in {pid(parent), os.getpid()}
    assert system.find("inner") is inner
    assert get(outer.proxy().find("inner")) is inner
    assert get(outer.proxy().ask_other(inner)) == "hello"


def test_children_end_with_their_parent(system: ActorSystem) -> None:
    parent = system.spawn(Worker, process=True, name="parent")
    child = get(parent.proxy().spawn("child", process=True))
    grandchild = get(child.proxy().spawn("grandchild", process=True))
    os.kill(pid(parent), signal.SIGKILL)
    eventually(lambda: system.names() == [])
    eventually(lambda: not (child.is_alive() or grandchild.is_alive()))


def test_a_child_whose_parent_is_killed_before_its_start_leaves_no_name(
    system: ActorSystem,
) -> None:
    parent = system.spawn(Worker, process=True, name="parent", restart="permanent")
    with pytest.raises(ActorRestarted):
        get(parent.proxy().die_before_the_start("child"))
    eventually(lambda: system.names() == ["parent"])
    assert get(system.spawn(Worker, process=True, name="child").proxy().incarnation()) == 1


def test_all_are_stopped_children_first_and_the_latest_first(system: ActorSystem) -> None:
    first = system.spawn(Worker, process=True, name="first")
    second = system.spawn(Worker, name="second")
    order: list[str] = []
    child = get(first.proxy().spawn("child", process=True))
    inner = get(first.proxy().spawn("inner", process=False))
    for ref, name in ((first, "first"), (second, "second"), (child, "child"), (inner, "inner")):
        system.watch(ref, lambda _, name=name: order.append(name))  # type: ignore[misc]
    system.stop_all()
    eventually(lambda: len(order) == 4)
    assert order == ["second", "inner", "child", "first"]


@pytest.mark.parametrize("process", [False, True])
def test_one_that_is_slow_to_stop_does_not_keep_the_others_from_ending(
    system: ActorSystem, process: bool, tmp_path: Path
) -> None:
    parent = system.spawn(Worker, process=process, name="parent")
    slow = get(parent.proxy().spawn("slow", process=process))
    other = system.spawn(Worker, name="other")
    busy: Any = slow.proxy().wait_for_file(str(tmp_path))
    eventually((tmp_path / "busy").exists)
    with pytest.raises(pykka.Timeout, match="slow has not ended in time"):
        system.stop(parent, timeout_s=0.1)
    eventually(lambda: not parent.is_alive())
    assert other.is_alive()
    with pytest.raises(pykka.Timeout, match="has not ended in time"):
        system.stop_all(timeout_s=0.1)
    eventually(lambda: not other.is_alive())
    (tmp_path / "go").touch()
    assert get(busy) == "done"
    eventually(lambda: system.names() == [])


def test_stopping_by_name_waits_for_the_end(system: ActorSystem) -> None:
    ref = system.spawn(Worker, process=True, name="a", restart="permanent")
    number = pid(ref)
    assert system.stop("a") is True
    assert not Path(f"/proc/{number}").exists()
    assert system.stop("a") is False
    assert not ref.is_alive()


def test_a_closed_system_refuses_everything() -> None:
    with ActorSystem("short") as short:
        ref = short.spawn(Worker, process=True)
    assert not ref.is_alive()
    with pytest.raises(SystemClosed):
        short.spawn(Worker)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("hello", timeout=LIMIT_S)
    short.close()


def test_a_folder_that_cannot_hold_sockets_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SocketPathTooLong):
        ActorSystem(folder=str(tmp_path / ("x" * 100)))


def test_sockets_are_in_the_folder_that_was_given_and_gone_at_the_end(short_folder: Path) -> None:
    with ActorSystem(folder=str(short_folder)) as there:
        ref = there.spawn(Plain, process=True, name="sock")
        assert (short_folder / "sock.sock").exists()
        os.kill(pid(ref), signal.SIGKILL)
        eventually(lambda: not (short_folder / "sock.sock").exists())
    assert list(short_folder.iterdir()) == []


# -- watches --------------------------------------------------------------------------------------


def test_a_killed_process_is_told_with_its_signal(system: ActorSystem) -> None:
    victim = system.spawn(Worker, process=True)
    here, there = system.spawn(Worker), system.spawn(Worker, process=True)
    for watcher in (here, there):
        get(watcher.proxy().see(victim))
        get(watcher.proxy().see(victim))  # twice is once
    downs = down_of(system, victim)
    os.kill(pid(victim), signal.SIGKILL)
    down = downs.get(timeout=LIMIT_S)
    assert (down.ref, down.reason, down.exit.signal, down.incarnation) == (victim, "killed", 9, 1)
    for watcher in (here, there):
        found = eventually(lambda w=watcher: get(w.proxy().get_downs()))  # type: ignore[misc]
        assert found == [[victim, "killed", 9, 1]]
    assert not victim.is_alive()
    assert downs.empty()


@pytest.mark.parametrize("process", [False, True])
def test_ends_are_told_apart(system: ActorSystem, process: bool) -> None:
    for act, reason in (("stop", "normal"), ("fail", "crash")):
        ref = system.spawn(Worker, process=process)
        downs = down_of(system, ref)
        getattr(ref.proxy(), act).defer()
        down = downs.get(timeout=LIMIT_S)
        assert (down.reason, down.is_orderly) == (reason, reason == "normal")
        if reason == "crash":
            assert "RuntimeError: as told" in down.exit.detail


@pytest.mark.parametrize("process", [False, True])
def test_watching_the_dead_answers_at_once(system: ActorSystem, process: bool) -> None:
    ref = system.spawn(Worker, process=process)
    first = down_of(system, ref)
    ref.proxy().fail.defer()
    first.get(timeout=LIMIT_S)
    watcher = system.spawn(Worker, process=True)
    assert down_of(system, ref).get(timeout=LIMIT_S).ref is ref
    if process:
        get(watcher.proxy().see(ref))
        found = eventually(lambda: get(watcher.proxy().get_downs()))
        assert [entry[1] for entry in found] == ["crash"]


def test_an_actor_that_no_system_started_can_be_watched(system: ActorSystem) -> None:
    ref = Plain.start()
    watcher = system.spawn(Worker, process=True)
    get(watcher.proxy().see(ref))
    downs = down_of(system, ref)
    ref.stop()
    assert downs.get(timeout=LIMIT_S).reason == "normal"
    assert eventually(lambda: get(watcher.proxy().get_downs()))[0][1] == "normal"


def test_what_is_not_watched_any_more_is_not_told(system: ActorSystem) -> None:
    victim, watcher = system.spawn(Worker, process=True), system.spawn(Worker, process=True)
    get(watcher.proxy().see(victim))
    get(watcher.proxy().unsee(victim))
    downs: queue.SimpleQueue[Down] = queue.SimpleQueue()
    cancel = system.watch(victim, downs.put)
    cancel()
    witness = down_of(system, victim)
    victim.stop()
    witness.get(timeout=LIMIT_S)
    assert get(watcher.proxy().get_downs()) == []
    assert downs.empty()


def test_a_watch_can_be_withdrawn_when_its_message_waits_already(system: ActorSystem) -> None:
    victim, watcher = system.spawn(Worker, process=True), system.spawn(Worker, process=True)
    downs = down_of(system, victim)
    victim.stop()
    downs.get(timeout=LIMIT_S)
    get(watcher.proxy().see_and_unsee(victim))
    assert get(watcher.proxy().get_downs()) == []


def test_what_is_asked_of_a_killed_actor_fails_at_once(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The end of its link is enough: the root's word not to wait for that comes far later.
    monkeypatch.setattr(desk, "_LAST_WORDS_S", 60.0)
    victim = system.spawn(Worker, process=True)
    number = pid(victim)
    futures = [victim.ask("x", block=False, timeout=60) for _ in range(3)]
    for future in futures:
        get(future)
    futures = [victim.proxy().sleep(60) for _ in range(3)]
    began = time.monotonic()
    os.kill(number, signal.SIGKILL)
    for future in futures:
        with pytest.raises(ActorLost):
            get(future)
    assert time.monotonic() - began < 10.0


# -- links ----------------------------------------------------------------------------------------


def test_linked_actors_fall_together(system: ActorSystem) -> None:
    one, two = system.spawn(Worker, process=True), system.spawn(Worker, process=True)
    three = system.spawn(Worker)
    get(one.proxy().tie(two))
    get(three.proxy().tie(two))
    downs = down_of(system, three)
    os.kill(pid(one), signal.SIGKILL)
    down = downs.get(timeout=LIMIT_S)
    assert (down.reason, "linked to" in down.exit.detail) == ("crash", True)
    eventually(lambda: not two.is_alive())


def test_an_orderly_end_does_not_concern_the_linked(system: ActorSystem) -> None:
    one, two = system.spawn(Worker, process=True), system.spawn(Worker, process=True)
    get(one.proxy().tie(two))
    downs = down_of(system, one)
    one.stop()
    downs.get(timeout=LIMIT_S)
    assert get(two.proxy().pid())
    assert get(two.proxy().get_downs()) == []


def test_who_traps_links_gets_a_message(system: ActorSystem) -> None:
    trapping, other = system.spawn(Trapping, process=True), system.spawn(Worker, process=True)
    get(trapping.proxy().tie(other))
    other.proxy().fail.defer()
    assert eventually(lambda: get(trapping.proxy().get_downs()))[0][1] == "crash"


def test_an_untied_actor_lives_on(system: ActorSystem) -> None:
    one, two = system.spawn(Worker, process=True), system.spawn(Worker, process=True)
    get(one.proxy().tie(two))
    get(one.proxy().untie(two))
    downs = down_of(system, two)
    two.proxy().fail.defer()
    downs.get(timeout=LIMIT_S)
    assert get(one.proxy().pid())


def test_a_restarted_watcher_is_told_of_its_own_watches_alone(system: ActorSystem) -> None:
    watcher = system.spawn(Worker, process=True, restart="permanent")
    first, second = system.spawn(Worker, process=True), system.spawn(Worker, process=True)
    get(watcher.proxy().see(first))
    os.kill(pid(watcher), signal.SIGKILL)
    eventually(lambda: is_incarnation(watcher, 2))
    get(watcher.proxy().see(second))
    first.stop()
    second.stop()
    found = eventually(lambda: get(watcher.proxy().get_downs()))
    assert [entry[0] for entry in found] == [second]


# -- restarts -------------------------------------------------------------------------------------


def test_a_restarted_actor_keeps_its_name_and_its_refs(system: ActorSystem) -> None:
    ref = system.spawn(Worker, "kept", process=True, name="phoenix", restart="permanent")
    other = system.spawn(Worker, process=True)
    assert get(other.proxy().ask_other(ref)) == "hello"
    downs = down_of(system, ref)
    first, flying = pid(ref), ref.proxy().sleep(60)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ActorRestarted) as lost:
        get(flying)
    assert lost.value.maybe_executed
    assert downs.get(timeout=LIMIT_S).incarnation == 1
    eventually(lambda: is_incarnation(ref, 2))
    assert pid(ref) != first
    assert ref.is_alive()
    assert get(ref.proxy().words) == ["kept"]
    assert system.find("phoenix") is ref
    assert eventually(lambda: ref.incarnation == 2)  # type: ignore[attr-defined]
    assert get(other.proxy().ask_other(ref)) == "hello"
    # It may answer before the root knows of it: a watch would be for the first one still.
    eventually(lambda: root_incarnation(system, "phoenix") == 2)
    second = down_of(system, ref)
    os.kill(pid(ref), signal.SIGKILL)
    assert second.get(timeout=LIMIT_S).incarnation == 2


def test_a_transient_actor_that_ended_well_stays_away(system: ActorSystem) -> None:
    ref = system.spawn(Worker, process=True, name="once", restart="transient")
    downs = down_of(system, ref)
    ref.proxy().fail.defer()
    assert downs.get(timeout=LIMIT_S).reason == "crash"
    eventually(lambda: is_incarnation(ref, 2))
    ref.stop()
    eventually(lambda: "once" not in system.names())
    eventually(lambda: not ref.is_alive())


def test_an_actor_that_falls_too_often_is_given_up_and_takes_nobody_along(
    system: ActorSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long its starts take, its falls count together.
    lasting = partial(SupervisorSpec, period_s=600.0)
    monkeypatch.setattr(actor_processes, "SupervisorSpec", lasting)
    flag = tmp_path / "flag"
    ref = system.spawn(
        Worker, process=True, name="doomed", restart="permanent", fail_file=str(flag)
    )
    other = system.spawn(Worker, process=True, restart="permanent")
    flag.touch()
    os.kill(pid(ref), signal.SIGKILL)
    eventually(lambda: "doomed" not in system.names())
    eventually(lambda: not ref.is_alive())
    assert get(other.proxy().pid())


def test_a_hung_actor_is_killed_when_its_loop_must_answer(system: ActorSystem) -> None:
    ref = system.spawn(Plain, process=True, liveness_interval_s=0.3)
    downs = down_of(system, ref)
    assert pid(ref)
    ref.proxy().sleep(60)
    assert downs.get(timeout=LIMIT_S).reason == "hung"


def test_an_actor_with_a_process_is_down_when_its_on_stop_is_through(
    system: ActorSystem, tmp_path: Path
) -> None:
    ref = system.spawn(HoldsALock, str(tmp_path), process=True, name="holder")
    downs = down_of(system, ref)
    ref.stop(block=False)
    eventually((tmp_path / "stopping").exists)
    # What pykka calls not alive has its lock still: nobody may take its place.
    eventually(lambda: not ref.is_alive())
    with pytest.raises(NameTaken):
        system.spawn(Worker, name="holder")
    with pytest.raises(queue.Empty):
        downs.get(timeout=0.1)
    assert (tmp_path / "lock").exists()
    (tmp_path / "go").touch()
    assert downs.get(timeout=LIMIT_S).is_orderly
    assert not (tmp_path / "lock").exists()


# -- deadlocks ------------------------------------------------------------------------------------


def spawn_ring(system: ActorSystem, size: int, **options: Any) -> list[pykka.ActorRef[Any]]:
    return [system.spawn(Chained, name=f"ring-{i}", **options) for i in range(size)]


@pytest.mark.parametrize("size", range(2, 9))
def test_one_of_a_ring_of_independent_asks_is_refused_soon_and_all_others_are_answered(
    system: ActorSystem, size: int, tmp_path: Path
) -> None:
    ring = spawn_ring(system, size, process=size < 5)
    futures = [
        ref.proxy().proxy_ask_together(ring[(i + 1) % size], str(tmp_path), str(i))
        for i, ref in enumerate(ring)
    ]
    # All are busy before the first one asks: else it would be answered, and there is no ring.
    eventually(lambda: len(list(tmp_path.iterdir())) == size)
    began = time.monotonic()
    (tmp_path / "go").touch()
    failed = 0
    for future in futures:
        try:
            answer = get(future)
        except DeadlockError as error:
            failed += 1
            answer = "hello" if len(error.cycle) == size + 1 else error
        assert answer == "hello"
    assert failed == 1
    assert time.monotonic() - began < 10.0  # and its tail is answered: no ask waited its 20 s


class PlainAsker(pykka.ThreadingActor):
    def ask_after(self, first: threading.Event, other: pykka.ActorRef[Any]) -> Any:
        assert first.wait(LIMIT_S)
        return other.ask("hello")

    def on_receive(self, message: Any) -> Any:
        return message


def test_plain_actors_that_ask_each_other_are_told_too(system: ActorSystem) -> None:
    one, other = system.spawn(PlainAsker), system.spawn(PlainAsker)
    both = threading.Event()
    futures = [a.proxy().ask_after(both, b) for a, b in ((one, other), (other, one))]
    both.set()
    ends: list[object] = []
    for future in futures:
        try:
            ends.append(get(future))
        except DeadlockError as error:
            ends.append(len(error.cycle))
    assert sorted(ends, key=str) == [3, "hello"]


def test_a_chain_that_comes_back_is_refused_at_send(system: ActorSystem) -> None:
    ring = spawn_ring(system, 3, process=True)
    with pytest.raises(DeadlockError) as refused:
        get(ring[0].proxy().send_round([ring[1], ring[2], ring[0]]))
    assert [key.partition("/")[2].partition(".")[0] for key in refused.value.cycle] == [
        "ring-0", "ring-1", "ring-2", "ring-0"
    ]  # fmt: skip


@pytest.mark.parametrize("process", [False, True])
def test_who_asks_itself_is_told(system: ActorSystem, process: bool) -> None:
    ref = system.spawn(Worker, process=process)
    with pytest.raises(DeadlockError):
        get(ref.proxy().ask_other(ref))
    assert get(ref.proxy().pid())


def test_a_ring_over_a_permit_is_ended(system: ActorSystem, tmp_path: Path) -> None:
    holder, waiter = spawn_ring(system, 2, process=True)
    waiting = waiter.proxy().wait_for_permit(holder, str(tmp_path))
    eventually((tmp_path / "busy").exists)
    with pytest.raises(DeadlockError):
        get(holder.proxy().proxy_ask(waiter))
    (tmp_path / "go").touch()
    get(waiting)


def test_waiting_for_a_human_is_no_deadlock(system: ActorSystem, tmp_path: Path) -> None:
    one, two = spawn_ring(system, 2, process=True)
    waiting = two.proxy().wait_for_human(str(tmp_path))
    eventually((tmp_path / "busy").exists)
    asking = one.proxy().proxy_ask(two)
    with pytest.raises(pykka.Timeout):
        asking.get(timeout=0.3)
    (tmp_path / "go").touch()
    assert get(asking) == "hello"
    get(waiting)


def test_one_that_asks_in_its_start_who_waits_for_its_start(system: ActorSystem) -> None:
    with pytest.raises(ActorStartFailed, match="DeadlockError"):
        get(system.spawn(Spawning, process=True).proxy().spawn_child())


def test_a_recovery_that_asks_its_asker_is_no_wait_without_end(
    system: ActorSystem, tmp_path: Path
) -> None:
    asker = system.spawn(Worker, process=True)
    asked = system.spawn(AsksBack, asker, str(tmp_path), process=True, restart="permanent")
    os.kill(pid(asked), signal.SIGKILL)
    # Who was the last to ask is refused: the asker, or the one it asks, whose start then fails.
    with pytest.raises((DeadlockError, pykka.ActorDeadError)) as refused:
        get(asker.proxy().ask_recovering(asked, str(tmp_path)))
    assert isinstance(refused.value, DeadlockError) is not (tmp_path / "refused").exists()
    eventually(lambda: is_incarnation(asked, 2) or is_incarnation(asked, 3))
    assert get(asker.proxy().proxy_ask(asked)) == "hello"


def test_a_busy_net_of_asks_raises_no_alarm(system: ActorSystem) -> None:
    """Each asks only later ones, again and again, slowly enough that all waits are told."""
    line = spawn_ring(system, 5, process=False)
    futures = [
        line[i].proxy().proxy_ask(line[j], 0.002 * ((i + j) % 4))
        for _ in range(15)
        for i in range(4)
        for j in range(i + 1, 5)
    ]
    assert {get(future) for future in futures} == {"hello"}


def dead_letters_of(system: ActorSystem, process: str) -> list[SystemDeadLetter]:
    return [letter for letter in system.dead_letters().letters if letter.process == process]


def test_dead_letters_of_another_process_are_seen_and_sent_again(
    system: ActorSystem, tmp_path: Path
) -> None:
    ref = system.spawn(Choosy, process=True, name="choosy")
    holding = ref.proxy().hold(str(tmp_path))
    eventually((tmp_path / "held").exists)
    for number in range(4):
        ref.tell({"number": number})
    first, second = eventually(
        lambda: letters if len(letters := dead_letters_of(system, "choosy")) == 2 else None
    )
    (tmp_path / "go").touch()
    get(holding)
    said = [(letter.message, letter.reason, letter.is_whole) for letter in (first, second)]
    assert said == [({"number": 0}, "dropped", True), ({"number": 1}, "dropped", True)]
    assert system.dead_letters(1).counts["choosy"] == {"dropped": 2}
    assert system.replay(second, ref)
    assert eventually(lambda: {"number": 1} in get(ref.proxy().get_got()))
    assert [letter.number for letter in dead_letters_of(system, "choosy")] == [first.number]
    assert not system.replay(second, ref)


def test_a_dead_letter_that_is_no_data_is_seen_where_it_is(system: ActorSystem) -> None:
    ref = system.spawn(Choosy, process=True, name="own")
    get(ref.proxy().tell_itself_things())
    (letter,) = dead_letters_of(system, "own")
    assert (letter.message, letter.is_whole, letter.reason) == (None, False, "dropped")
    with pytest.raises(ValueError, match="in own alone"):
        system.replay(letter, ref)
    assert len(dead_letters_of(system, "own")) == 1


def test_a_process_that_stands_still_is_missing_from_the_dead_letters_and_holds_nobody(
    system: ActorSystem,
) -> None:
    still = system.spawn(Worker, process=True, name="still")
    system.spawn(Worker, process=True, name="quick")
    number = pid(still)
    os.kill(number, signal.SIGSTOP)
    try:
        # A thread that runs at the moment may go on for a while, and answer.
        eventually(lambda: thread_states(number) == {"T"})
        report = system.dead_letters(timeout_s=3.0)
    finally:
        os.kill(number, signal.SIGCONT)
    assert report.missing == ["still"]
    assert system.dead_letters(timeout_s=LIMIT_S).missing == []
    with pytest.raises(ValueError, match="1 or more"):
        system.dead_letters(0)
