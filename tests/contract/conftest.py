"""The pairs of nodes, and the buses, that a contract holds for."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from fakes.bus import MAX_FRAME_BYTES, Bus, End
from fakes.node_pair import Pair

from understudy.transport import (
    MemoryChannel,
    MemoryHub,
    MemoryNode,
    Node,
    UnixSocketChannel,
    set_wait_observer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.fixture(params=["sockets", "memory"])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bus]:
    def on_sockets(server: End | None, **options: Any) -> End:  # noqa: ANN401 - passed on
        return UnixSocketChannel(
            tmp_path / "bus.sock", server is None, max_frame_bytes=MAX_FRAME_BYTES, **options
        )

    def in_memory(server: End | None, **options: Any) -> End:  # noqa: ANN401 - passed on
        assert server is None or isinstance(server, MemoryChannel)
        return MemoryChannel(server, max_frame_bytes=MAX_FRAME_BYTES, **options)

    made = Bus(on_sockets if request.param == "sockets" else in_memory)
    yield made
    made.close()
