"""The pairs of nodes that a contract holds for."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

import pykka
import pytest
from fakes.node_pair import Pair

from understudy.transport import MemoryHub, MemoryNode, Node, set_wait_observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.transport.node_base import NodeBase


@pytest.fixture(
    params=["unix-msgspec", "unix-msgpack", "memory-msgspec", "memory-msgpack"], name="pair"
)
def _pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    kind, codec = request.param.split("-")
    folder = tempfile.mkdtemp(prefix="us-", dir="/tmp")
    hub = MemoryHub()

    def make(name: str) -> NodeBase:
        if kind == "unix":
            return Node(name, folder, codec=codec)
        return MemoryNode(name, hub, codec=codec)

    pair = Pair(make("here"), make("there"))
    yield pair
    pair.here.close()
    pair.there.close()
    set_wait_observer(None)
    pykka.ActorRegistry.stop_all(timeout=5)
    shutil.rmtree(folder)
