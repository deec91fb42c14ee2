"""Starts of actors that go wrong, or come at a bad time: nobody else pays for them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import pytest
from fakes.system_actors import Worker

from understudy.supervision.actor import Actor
from understudy.supervision.actor_errors import InvalidActor
from understudy.supervision.errors import InvalidSpec
from understudy.supervision.system import ActorSystem
from understudy.transport.errors import FrameTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 15.0
OVER_A_FRAME_BYTES = 70 << 20


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("starts", preload=["fakes.system_actors"]) as made:
        yield made


class Gated(Actor):
    """Is up when it is let."""

    is_starting: ClassVar[threading.Event]
    may_start: ClassVar[threading.Event]

    def on_start(self) -> None:
        self.is_starting.set()
        self.may_start.wait(LIMIT_S)


@pytest.fixture
def gated() -> type[Gated]:
    Gated.is_starting, Gated.may_start = threading.Event(), threading.Event()
    return Gated


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("start_timeout_s", None),
        ("start_timeout_s", "5"),
        ("start_timeout_s", True),
        ("shutdown_s", "long"),
        ("liveness_interval_s", [1]),
        ("backoff", 3),
    ],
)
def test_an_option_of_another_type_is_refused_by_name(
    system: ActorSystem, option: str, value: object, process: bool
) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(InvalidActor, match=f"{option} must be "):
        system.spawn(Worker, process=process, name="refused", **options)
    assert system.names() == []


@pytest.mark.parametrize("process", [False, True])
def test_a_time_that_makes_no_sense_is_refused(system: ActorSystem, process: bool) -> None:
    for value in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InvalidSpec, match="start_timeout_s"):
            system.spawn(Worker, process=process, name="refused", start_timeout_s=value)
    assert system.names() == []
    assert pykka.ActorRegistry.get_by_class(Worker) == []


@pytest.mark.parametrize("process", [False, True])
def test_what_is_no_class_of_an_actor_is_refused(system: ActorSystem, process: bool) -> None:
    wrong: list[Any] = ["Echo", None, Worker()]
    for thing in wrong:
        with pytest.raises(InvalidActor, match="a class is wanted, not "):
            system.spawn(thing, process=process)
    not_an_actor: Any = str
    with pytest.raises(InvalidActor, match=r"no pykka\.ThreadingActor"):
        system.spawn(not_an_actor, process=process)
    assert system.names() == []


def test_a_start_that_cannot_be_told_to_the_root_gives_its_name_back(system: ActorSystem) -> None:
    asker = system.spawn(Worker, process=True, name="asker")
    with pytest.raises(FrameTooLarge):
        asker.proxy().spawn_with("large", OVER_A_FRAME_BYTES).get(timeout=LIMIT_S)
    again = asker.proxy().spawn_with("large", 1).get(timeout=LIMIT_S)
    assert system.find("large") is again
    system.stop_all(timeout_s=LIMIT_S)
    assert system.names() == []


def test_who_no_longer_waits_for_a_start_leaves_no_name(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: Any = system
    request = inside._request

    def interrupted(op: str, payload: dict[str, Any], timeout_s: float) -> object:
        answer = request(op, payload, timeout_s)
        if op == "spawn":
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(system, "_request", interrupted)
        with pytest.raises(KeyboardInterrupt):
            system.spawn(Worker, process=True, name="left")
    ends = time.monotonic() + LIMIT_S
    while "left" in system.names():
        assert time.monotonic() < ends, "its process runs on"
        time.sleep(0.005)


def stop_while_it_starts(system: ActorSystem, gated: type[Gated]) -> list[Any]:
    """What the spawn gave or raised; the stop has come to its end."""
    outcome: list[Any] = []

    def spawn() -> None:
        try:
            outcome.append(system.spawn(gated, name="gated"))
        except Exception as error:  # noqa: BLE001 - looked at by the test
            outcome.append(error)

    threads = [
        threading.Thread(target=spawn),
        threading.Thread(target=system.stop_all, kwargs={"timeout_s": LIMIT_S}),
    ]
    threads[0].start()
    assert gated.is_starting.wait(LIMIT_S)
    threads[1].start()
    inside: Any = system
    ends = time.monotonic() + LIMIT_S
    while not inside._desk._stopping:
        assert time.monotonic() < ends, "no stop was asked for"
        time.sleep(0.002)
    # Answered after the stop was taken.
    system.names()
    gated.may_start.set()
    for thread in threads:
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    return outcome


def test_an_actor_that_is_told_to_stop_while_it_starts_ends_when_it_is_up(
    system: ActorSystem, gated: type[Gated]
) -> None:
    [ref] = stop_while_it_starts(system, gated)
    assert not ref.is_alive()
    assert system.names() == []


def test_who_waits_for_the_end_of_a_start_that_fails_is_answered(
    system: ActorSystem, gated: type[Gated]
) -> None:
    class Fails(gated):  # type: ignore[misc, valid-type]
        def on_start(self) -> None:
            super().on_start()
            raise RuntimeError("no such luck")

    [error] = stop_while_it_starts(system, Fails)
    assert "no such luck" in str(error)
    assert system.names() == []
