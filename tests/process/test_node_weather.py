"""The promises of a link between nodes in any weather: order, at most once, nothing invented,
each request ends once.

LINK_SEEDS is how many seeds each weather gets (2).
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
from fakes.link_proxy import LinkProxy, Weather

from understudy.transport import (
    ActorLost,
    MailboxActor,
    MemoryHub,
    MemoryNode,
    Node,
    NodeLimits,
)
from understudy.transport.node_base import NodeBase

SEEDS = range(int(os.environ.get("LINK_SEEDS", "2")))
LIMITS = NodeLimits(send_timeout_s=0.5, ask_timeout_s=2.0)
MESSAGES = 120
SOME = MESSAGES // 4
"""What gets through at least where links are cut; more than before the first cut."""


class Keeper(MailboxActor):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        return message


@pytest.fixture(name="folder")
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="us-", dir="/tmp")
    yield folder
    pykka.ActorRegistry.stop_all(timeout=5)
    shutil.rmtree(folder)


class Play:
    """Tells and asks at random, in whatever weather, and what must hold of it."""

    def __init__(
        self, here: NodeBase, ref: pykka.ActorRef[Any], seed: int, ask_s: float = 2.0
    ) -> None:
        self.sent = 0
        self._ask_s = ask_s
        self._dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._here = here
        self._address = ref.__dict__["seen_at"]
        self._actor = ref._actor_weakref()
        self._asked: list[tuple[int, pykka.Future[Any]]] = []
        self._answered: set[int] = set()

    @property
    def got(self) -> list[int]:
        assert isinstance(self._actor, Keeper)
        return [message[0] for message in self._actor.got]

    def step(self) -> None:
        number, self.sent = self.sent, self.sent + 1
        remote = self._here.ref(self._address)
        assert remote.is_alive()  # the end of a link is not the end of the actor
        if self._dice.random() < 0.5:
            remote.tell([number, "x" * self._dice.choice([1, 100, 5_000])])
            return
        future = remote.ask([number, "ask"], block=False, timeout=self._ask_s)
        self._asked.append((number, future))
        if self._dice.random() < 0.3:
            self._await(number, future)

    def end(self) -> None:
        """All ends, each request once; and what is asked now, in fair weather, is answered."""
        for number, future in self._asked:
            self._await(number, future)
        last = self.sent
        self.sent += 1
        assert self._here.ref(self._address).ask([last, "ask"], timeout=60) == [last, "ask"]
        numbers = self.got
        assert numbers == sorted(set(numbers))  # in order, each at most once
        assert set(numbers) <= set(range(self.sent))
        assert self._answered <= set(numbers)  # nothing is answered that was not there

    def _await(self, number: int, future: pykka.Future[Any]) -> None:
        try:
            assert future.get(timeout=self._ask_s + 10) == [number, "ask"]
            self._answered.add(number)
            assert future.get(timeout=0) == [number, "ask"]
        except (pykka.Timeout, ActorLost) as error:
            with pytest.raises(type(error)):
                future.get(timeout=0)


WEATHER = {
    "byte by byte": [Weather(piece=1)],
    "in pieces": [Weather(piece=300)],
    "cut early": [Weather(cut_after=30), Weather(cut_after=400), Weather()],
    "cut often": [Weather(piece=900, cut_after=n) for n in (2_000, 9_000, 700, 5_000)]
    + [Weather()],
    "late": [Weather(piece=2_000, delay_s=0.003)],
    "cut one way": [Weather(cut_after=900, cut_way=way) for way in (0, 1)] + [Weather()],
    "nothing comes back": [Weather(holds=frozenset({1})), Weather()],
    "nothing goes there": [Weather(holds=frozenset({0})), Weather()],
}
LOSES_NOTHING = ("byte by byte", "in pieces", "late")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", list(WEATHER))
def test_the_promises_hold_over_sockets(folder: str, kind: str, seed: int) -> None:
    here, there = Node("here", folder, limits=LIMITS), Node("there", folder, limits=LIMITS)
    ref = Keeper.start()
    ref.__dict__["seen_at"] = there.host(ref, actor_id="a")
    weather = WEATHER[kind]
    proxy = LinkProxy(f"{folder}/there.sock", weather, seed)
    ends = time.monotonic() + 90
    try:
        # Where nothing is lost all is answered, however long the bytes are held back.
        play = Play(here, ref, seed, 60.0 if kind in LOSES_NOTHING else 2.0)
        while play.sent < MESSAGES or proxy.connections < len(weather):
            assert time.monotonic() < ends, "not all of the weather came"
            play.step()
        play.end()
        assert proxy.connections == len(weather)
        assert len(play.got) >= (play.sent if kind in LOSES_NOTHING else SOME)
    finally:
        for thing in (here, proxy, there):
            thing.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_hold_in_memory_when_links_end(seed: int) -> None:
    hub = MemoryHub()
    here, there = MemoryNode("here", hub, limits=LIMITS), MemoryNode("there", hub, limits=LIMITS)
    ref = Keeper.start()
    ref.__dict__["seen_at"] = there.host(ref, actor_id="a")
    play, cuts = Play(here, ref, seed), 0
    while play.sent < MESSAGES:
        play.step()
        if play.sent % 20 == 0:
            for session in here._live_sessions():
                here._end(session, "cut", is_restart=False)
                cuts += 1
    play.end()
    assert cuts == MESSAGES // 20
    assert len(play.got) >= SOME
    here.close()
    there.close()
    pykka.ActorRegistry.stop_all(timeout=5)


def test_a_silent_link_ends_its_requests_at_their_deadline(folder: str) -> None:
    here, there = Node("here", folder, limits=LIMITS), Node("there", folder, limits=LIMITS)
    ref = Keeper.start()
    address = there.host(ref, actor_id="a")
    proxy = LinkProxy(f"{folder}/there.sock", [Weather(holds=frozenset({1}))])
    start_s = time.monotonic()
    with pytest.raises(pykka.Timeout):
        here.ref(address).ask(1, timeout=0.3)
    assert 0.25 < time.monotonic() - start_s < 3
    for thing in (here, proxy, there):
        thing.close()
