# pyright: reportPrivateUsage=false
"""How often the service thread looks after what nobody else does. No thread runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from understudy.transport.poller import Poller

TICK_S = 0.002
IDLE_S = 60.0


class Steps:
    """The waits of a service thread, which end at once: what happens meanwhile is told here."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self.meanwhile: Callable[[int], None] = lambda _count: None
        self.flushed = 0
        self.poller = Poller(
            "poller",
            call=lambda: None,
            has_calls=lambda: False,
            sweep=lambda: False,
            flush=self._flush,
            tick_s=TICK_S,
            clock=lambda: 0.0,
        )
        self.poller._step = self._step  # type: ignore[method-assign]

    def _flush(self) -> None:
        self.flushed += 1

    def _step(self, wait_s: float, *, is_quiet: bool) -> None:  # noqa: ARG002 - as in the poller
        self.waits_s.append(wait_s)
        self.meanwhile(len(self.waits_s))

    def ticks(self, count: int) -> list[int]:
        """So many steps, in ticks."""

        def step(number: int) -> None:
            meanwhile(number)
            if number == count:
                self.poller._stopping = True

        meanwhile, self.meanwhile = self.meanwhile, step
        self.poller._run()
        return [round(wait_s / TICK_S) for wait_s in self.waits_s]

    def read(self) -> None:
        """Another thread took the role, read something, and left."""
        self.poller._activity += 1


@pytest.fixture(name="steps")
def _steps() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    steps.poller.stop()


def test_steps_grow_while_another_thread_reads(steps: Steps) -> None:
    steps.meanwhile = lambda _count: steps.read()
    with steps.poller._role:
        assert steps.ticks(6) == [2, 4, 8, 8, 8, 8]


def test_steps_are_short_while_nobody_waits_for_what_comes(steps: Steps) -> None:
    steps.meanwhile = lambda _count: steps.read()
    assert steps.ticks(4) == [1, 1, 1, 1]


def test_what_is_collected_ends_a_long_step_and_is_sent(steps: Steps) -> None:
    def meanwhile(count: int) -> None:
        steps.read()
        assert not steps.poller.has_work()
        if count == 3:
            steps.poller.nudge()
            assert steps.poller.has_work()

    steps.meanwhile = meanwhile
    with steps.poller._role:
        assert steps.ticks(4)[2:] == [8, 1]
    assert steps.flushed == 4


def test_what_is_collected_waits_for_the_end_of_a_short_step(steps: Steps) -> None:
    def meanwhile(_count: int) -> None:
        steps.read()
        steps.poller.nudge()
        assert not steps.poller.has_work()

    steps.meanwhile = meanwhile
    assert steps.ticks(3) == [1, 1, 1]


@pytest.mark.parametrize("is_read", [True, False])
def test_without_traffic_it_waits_to_be_called(steps: Steps, is_read: bool) -> None:
    if is_read:
        steps.poller._role.acquire()
    assert steps.ticks(25)[-1] == round(IDLE_S / TICK_S)
    if is_read:
        steps.poller._role.release()
