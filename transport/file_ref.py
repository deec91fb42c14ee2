"""A file by reference: what a message says of a file that is too large to travel."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .errors import DecodeError, FileRefBroken

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHUNK_BYTES = 1 << 20
_DIGEST_LENGTH = 64


@dataclass(frozen=True)
class FileRef:
    """Names a regular file by its absolute path, its size and its SHA-256.

    It travels as plain data (`to_wire`), on the bus and between nodes. Whoever reads it runs as the
    same user and sees the same folders. `read` gives exactly the bytes that were named, or raises:
    of a file that was replaced, shortened or has grown nothing is given out, no link is followed in
    the path's last part, and no byte beyond the named size is read.

    Attributes:
        path: absolute.
        size_bytes: of the file.
        sha256: of its bytes, in hex.
    """

    path: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> FileRef:
        """The reference to a file as it is now.

        Raises:
            FileRefBroken: it is no regular file, cannot be read, or changes meanwhile.
        """
        name = os.path.abspath(path)  # noqa: PTH100 - links are left as they are named
        fd, size_bytes = _open(name)
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            digest = hashlib.sha256()
            left = size_bytes
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
            if left or os.fstat(fd).st_size != size_bytes:
                raise FileRefBroken(name, "it changes while it is read")
        return cls(name, size_bytes, digest.hexdigest())

    def read(self, max_bytes: int) -> bytes:
        """The file's bytes.

        Args:
            max_bytes: how much the reader is ready to hold; checked before anything is read.

        Raises:
            FileRefBroken: it is larger than that, or is not the file that was named.
        """
        if self.size_bytes > max_bytes:
            raise FileRefBroken(self.path, f"it has {self.size_bytes} bytes, over {max_bytes}")
        fd, size_bytes = _open(self.path)
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            if size_bytes != self.size_bytes:
                reason = f"it has {size_bytes} bytes now, not {self.size_bytes}"
                raise FileRefBroken(self.path, reason)
            data = file.read(self.size_bytes)
        if len(data) != self.size_bytes or hashlib.sha256(data).hexdigest() != self.sha256:
            raise FileRefBroken(self.path, "its bytes are others than those that were named")
        return data

    def to_wire(self) -> dict[str, Any]:
        """As it travels."""
        return {"path": self.path, "size_bytes": self.size_bytes, "sha256": self.sha256}

    @classmethod
    def from_wire(cls, record: object) -> FileRef:
        """The reference that travelled; fields of a later version are skipped.

        Raises:
            DecodeError: it is none.
        """
        fields = cast("Mapping[str, Any]", record if isinstance(record, dict) else {})
        path, size, digest = (fields.get(name) for name in ("path", "size_bytes", "sha256"))
        is_path = isinstance(path, str) and path.startswith("/") and "\0" not in path
        is_size = isinstance(size, int) and not isinstance(size, bool) and size >= 0
        is_digest = isinstance(digest, str) and len(digest) == _DIGEST_LENGTH
        if not (is_path and is_size and is_digest):
            raise DecodeError("a file reference is not what the protocol says")
        return cls(cast("str", path), cast("int", size), cast("str", digest))


def _open(path: str) -> tuple[int, int]:
    """A descriptor of a regular file, and the file's size."""
    try:
        # Not blocking: the open of a pipe that somebody put there would wait for its other end.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise FileRefBroken(path, getattr(error, "strerror", None) or str(error)) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise FileRefBroken(path, "it is no regular file")
    return fd, status.st_size
