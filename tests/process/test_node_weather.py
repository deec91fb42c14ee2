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
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest
from fakes.link_proxy import LinkProxy, Weather

from understudy.transport import MailboxActor, MemoryHub, MemoryNode, Node, NodeLimits
from understudy.transport.node_base import NodeBase

SEEDS = range(int(os.environ.get("LINK_SEEDS", "2")))
LIMITS = NodeLimits(send_timeout_s=0.5, ask_timeout_s=2.0)
MESSAGES = 120


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


def play(here: NodeBase, ref: pykka.ActorRef[Any], seed: int, fault: Callable[[], None]) -> None:
    """Tell and ask at random, in whatever weather; check what must hold of it."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    keeper = ref._actor_weakref()
    assert isinstance(keeper, Keeper)
    address = ref.__dict__["seen_at"]
    ended: dict[int, int] = {}
    futures: list[tuple[int, pykka.Future[Any]]] = []
    for number in range(MESSAGES):
        if dice.random() < 0.05:
            fault()
        remote = here.ref(address)
        try:
            if dice.random() < 0.5:
                remote.tell([number, "x" * dice.choice([1, 100, 5_000])])
            else:
                futures.append((number, remote.ask([number, "ask"], block=False, timeout=2.0)))
        except pykka.ActorDeadError:
            here._gone.clear()  # as if the system had said that it is there again
    for number, future in futures:
        try:
            assert future.get(timeout=10) == [number, "ask"]
            ended[number] = ended.get(number, 0) + 1
            assert future.get(timeout=0) == [number, "ask"]
        except (pykka.Timeout, pykka.ActorDeadError) as error:
            with pytest.raises(type(error)):
                future.get(timeout=0)
    numbers = [message[0] for message in keeper.got]
    assert numbers == sorted(set(numbers))  # in order, each at most once
    assert set(numbers) <= set(range(MESSAGES))
    assert set(ended) <= set(numbers)  # nothing is answered that was not there


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


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", list(WEATHER))
def test_the_promises_hold_over_sockets(folder: str, kind: str, seed: int) -> None:
    here, there = Node("here", folder, limits=LIMITS), Node("there", folder, limits=LIMITS)
    ref = Keeper.start()
    ref.__dict__["seen_at"] = there.host(ref, actor_id="a")
    proxy = LinkProxy(f"{folder}/there.sock", WEATHER[kind], seed)
    try:
        play(here, ref, seed, lambda: None)
        assert proxy.connections >= 1
    finally:
        for thing in (here, proxy, there):
            thing.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_hold_in_memory_when_links_end(seed: int) -> None:
    hub = MemoryHub()
    here, there = MemoryNode("here", hub, limits=LIMITS), MemoryNode("there", hub, limits=LIMITS)
    ref = Keeper.start()
    ref.__dict__["seen_at"] = there.host(ref, actor_id="a")

    def cut() -> None:
        for session in here._live_sessions():
            here._end(session, "cut", is_restart=False)

    play(here, ref, seed, cut)
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
