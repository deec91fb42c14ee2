from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.transport import (
    AgentMessage,
    DecodeError,
    FileRef,
    FileRefBroken,
    MemoryChannel,
    MessageType,
)

LIMIT = 1 << 20


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    file = tmp_path / "data"
    file.write_bytes(b"abc" * 1000)
    return file


def test_a_file_travels_by_reference_and_is_read_as_it_was_named(file: Path) -> None:
    with MemoryChannel() as bus, MemoryChannel(bus, name="bob") as bob:
        payload = {"file": FileRef.of(file).to_wire()}
        bus.send(AgentMessage.create("orchestrator", "bob", MessageType.TASK_REQUEST, payload))
        message = bob.receive(5)
        assert message is not None
        ref = FileRef.from_wire(message.payload["file"])
    assert ref.read(LIMIT) == b"abc" * 1000
    assert FileRef.from_wire(ref.to_wire() | {"later": 1}) == ref


def test_another_process_of_the_user_reads_it(file: Path) -> None:
    program = "import sys; from understudy.transport import FileRef; "
    program += "sys.stdout.buffer.write(FileRef(sys.argv[1], 3000, sys.argv[2]).read(4000)[:3])"
    argv = [sys.executable, "-c", program, str(file), FileRef.of(file).sha256]
    assert subprocess.run(argv, capture_output=True, check=True, timeout=30).stdout == b"abc"


@pytest.mark.parametrize("content", [b"x" * 3000, b"abc" * 999, b"abc" * 1001, b""])
def test_a_file_that_changed_gives_nothing_out(file: Path, content: bytes) -> None:
    ref = FileRef.of(file)
    file.write_bytes(content)
    with pytest.raises(FileRefBroken):
        ref.read(LIMIT)


def test_a_link_that_took_the_files_place_is_not_followed(file: Path, tmp_path: Path) -> None:
    ref = FileRef.of(file)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileRefBroken):
        ref.read(LIMIT)


def test_what_is_no_regular_file_is_refused_and_nothing_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nothing", Path("/dev/null")):
        with pytest.raises(FileRefBroken):
            FileRef.of(path)
        with pytest.raises(FileRefBroken):
            FileRef(str(path), 0, "0" * 64).read(LIMIT)


def test_a_file_over_the_readers_limit_is_not_read(file: Path) -> None:
    with pytest.raises(FileRefBroken, match="over 2999"):
        FileRef.of(file).read(2_999)


@pytest.mark.parametrize(
    "change", [{"path": "relative"}, {"path": "/a\0b"}, {"size_bytes": -1}, {"size_bytes": True},
               {"sha256": "x"}, {"sha256": None}],
)  # fmt: skip
def test_what_is_no_reference_is_refused(file: Path, change: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        FileRef.from_wire(FileRef.of(file).to_wire() | change)
    with pytest.raises(DecodeError):
        FileRef.from_wire(["/etc/passwd"])
