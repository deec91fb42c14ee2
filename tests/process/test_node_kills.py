"""One end of a link is killed, or held, after its n-th frame: each request ends once, and what had
been said is there in order.

LINK_SEEDS is how many seeds each frame gets (2), LINK_FRAMES how many frames (3).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykka
import pytest

from understudy.transport import Address, MailboxActor, Node, NodeLimits

TARGET = Path(__file__).parent / "node_target.py"
SEEDS = range(int(os.environ.get("LINK_SEEDS", "2")))
FRAMES = [2**n for n in range(int(os.environ.get("LINK_FRAMES", "3")))]
ADDRESS = Address("one", "a", 1, "x:Y", "urn:one", 4096, 1 << 24, 0.2)


@pytest.fixture(name="folder")
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="us-", dir="/tmp")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_each_request_ends_once_when_the_other_end_falls(
    folder: str, how: signal.Signals, frame: int, seed: int
) -> None:
    at = frame + random.Random(seed).randint(0, 30)  # noqa: S311 - repeatable, not secret
    argv = [sys.executable, str(TARGET), folder, "one", "1"]
    node = Node("root", folder, limits=NodeLimits(ask_timeout_s=0.5, send_timeout_s=0.2))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            check(node.ref(ADDRESS), process, how, at)
        finally:
            process.kill()
            node.close()


class Listener(MailboxActor):
    """Keeps what it is told, and knocks the teller out at a certain message."""

    def __init__(
        self,
        teller: subprocess.Popen[str],
        how: signal.Signals,
        at: int,
        fell: threading.Event,
    ) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self._fell = fell
        self._fall = (teller, how, at)

    def on_receive(self, message: Any) -> Any:
        if message == "what came":
            return list(self.numbers)
        self.numbers.append(message[1])
        teller, how, at = self._fall
        if len(self.numbers) == at:
            teller.send_signal(how)
            self._fell.set()
        return None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_sender_said_before_it_fell_is_whole_and_in_order(
    folder: str, how: signal.Signals, frame: int, seed: int
) -> None:
    at = frame + random.Random(seed).randint(0, 300)  # noqa: S311 - repeatable, not secret
    argv = [sys.executable, str(TARGET), folder, "one", "1"]
    # The other process may wait long for a processor before it says so much.
    node = Node("root", folder, limits=NodeLimits(ask_timeout_s=60, send_timeout_s=0.2))
    fell = threading.Event()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        listener = Listener.start(process, how, at, fell)
        node.host(listener, actor_id="listener")
        try:
            told = node.ref(ADDRESS).proxy().tell_many(listener, 100_000, "n")
            assert fell.wait(30)
            with pytest.raises((pykka.Timeout, pykka.ActorDeadError)):
                told.get(timeout=0.5 if how == signal.SIGSTOP else 5)
            came: Any = listener.ask("what came", timeout=5)
            assert len(came) >= at
            assert came == list(range(len(came)))
        finally:
            process.kill()
            node.close()
            listener.stop()


def check(
    ref: pykka.ActorRef[Any], process: subprocess.Popen[str], how: signal.Signals, frame: int
) -> None:
    futures: list[pykka.Future[Any]] = []
    for number in range(frame + 20):
        if number == frame:
            process.send_signal(how)
        futures.append(ref.ask(number, block=False))
    for number, future in enumerate(futures):
        try:
            assert future.get(timeout=5) == number
        except (pykka.Timeout, pykka.ActorDeadError) as error:
            with pytest.raises(type(error)):
                future.get(timeout=0)
