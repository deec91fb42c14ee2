from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.supervision.passing import receive_fd

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def link() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_a_descriptor_that_was_sent_is_inherited_by_no_program(
    link: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = link
    with open(os.devnull, "rb") as sent:  # noqa: PTH123 - its descriptor is what matters
        socket.send_fds(theirs, [b"words"], [sent.fileno()])
        data, [fd] = receive_fd(ours, 100)
    try:
        assert data == b"words"
        assert not os.get_inheritable(fd)
        assert os.fstat(fd).st_rdev == Path(os.devnull).stat().st_rdev
    finally:
        os.close(fd)


def test_words_may_come_without_a_descriptor(link: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = link
    theirs.send(b"words")
    assert receive_fd(ours, 100) == (b"words", [])


def test_who_does_not_want_to_wait_does_not(link: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        receive_fd(link[0], 100, socket.MSG_DONTWAIT)


def test_the_end_of_the_other_side_is_an_empty_message(
    link: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = link
    theirs.close()
    assert receive_fd(ours, 100) == (b"", [])
