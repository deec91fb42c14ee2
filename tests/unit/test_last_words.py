# ruff: noqa: ANN401 - messages are anything

from __future__ import annotations

import threading
from typing import Any

import pykka
import pytest

from understudy.transport.errors import ActorLost
from understudy.transport.memory_node import MemoryHub, MemoryNode


class Slow(pykka.ThreadingActor):
    use_daemon_thread = True

    def __init__(self, may_answer: threading.Event) -> None:
        super().__init__()
        self._may_answer = may_answer

    def on_receive(self, message: Any) -> Any:
        self._may_answer.wait(10)
        return message


@pytest.mark.parametrize("at_once", [True, False])
def test_the_last_words_of_a_peer_that_is_gone_arrive_unless_its_links_end(at_once: bool) -> None:
    hub, may_answer = MemoryHub(), threading.Event()
    here, there = MemoryNode("here", hub), MemoryNode("there", hub)
    local = Slow.start(may_answer)
    ref = here.ref(there.host(local))
    future = ref.ask("last words", block=False)
    here.peer_gone("there", "its process is over", at_once=at_once)
    assert not ref.is_alive()
    may_answer.set()
    if at_once:
        with pytest.raises(ActorLost):
            future.get(timeout=10)
    else:
        assert future.get(timeout=10) == "last words"
    local.stop()
    here.close()
    there.close()
