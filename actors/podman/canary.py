"""Looking for a secret's value in all that a container can read. The value is never shown."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .audit import Finding, judged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHUNK_BYTES = 1 << 20
_MAX_BYTES = 4 << 30
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOATIME
# The kernel's own: processes are searched by themselves.
_SKIPPED = {"/proc", "/sys", "/dev"}
# Shorter ones would be found by chance.
MIN_SECRET_CHARS = 8


@dataclass
class Search:
    """A search for some secrets.

    Attributes:
        secrets: the values.
        places: where one of them was found.
        searched_bytes: how much was read.
        unread: what could not be read.
        sockets: where sockets were seen among the files.
    """

    secrets: Sequence[bytes] = field(repr=False)
    places: list[str] = field(default_factory=list[str])
    searched_bytes: int = 0
    unread: list[str] = field(default_factory=list[str])
    sockets: list[str] = field(default_factory=list[str])
    max_bytes: int = _MAX_BYTES

    def look_at(self, place: str, data: bytes) -> None:
        """Search a piece of data."""
        self.searched_bytes += len(data)
        if any(secret in data for secret in self.secrets):
            self.places.append(place)

    def look_below(self, root: str) -> None:
        """Search the files below a folder, as a container's processes would find them.

        What is in it may be changed meanwhile by somebody hostile: no link is followed, each step
        goes from an open folder to an entry in it.

        Raises:
            OSError: the folder itself cannot be read.
        """

        def note(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                self.unread.append(f"{error.filename}: {error.strerror}")

        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for place, folders, names, folder in os.fwalk(".", dir_fd=descriptor, onerror=note):
                inside = place[1:]
                folders[:] = [name for name in folders if f"{inside}/{name}" not in _SKIPPED]
                for name in names:
                    self._look_at_file(f"{inside}/{name}", name, folder)
        finally:
            os.close(descriptor)

    def finding(self, *, known: bool = True) -> Finding:
        """The line of the audit.

        Args:
            known: whether the secrets are all that there are.
        """
        what, promised = "canary", "the gateway's key is nowhere in the container"
        if self.places:
            return judged(what, promised, [f"found in {place}" for place in self.places])
        if not known:
            return Finding(what, promised, "the service's key is not known here", "unknown")
        if not self.secrets:
            return Finding(what, promised, "the service has no key", "ok")
        if self.unread:
            return Finding(what, promised, f"not read: {self.unread[0]}", "unknown")
        found = f"not found in {self.searched_bytes / 1e6:.0f} MB"
        return Finding(what, promised, found, "ok")

    def _look_at_file(self, shown: str, name: str, folder: int) -> None:
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISSOCK(mode):
                self.sockets.append(shown)
            if not stat.S_ISREG(mode):
                return
            if not self.secrets:
                return
            descriptor = _open(name, folder)
        except FileNotFoundError:
            return
        except OSError as error:
            self.unread.append(f"{shown}: {error.strerror}")
            return
        try:
            # It may have been exchanged for a pipe or a device since.
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                self._look_at_content(shown, descriptor)
        except OSError as error:
            self.unread.append(f"{shown}: {error.strerror}")
        finally:
            os.close(descriptor)

    def _look_at_content(self, shown: str, descriptor: int) -> None:
        overlap = max(map(len, self.secrets), default=1) - 1
        for start, end in _data_ranges(descriptor):
            at, tail = start, b""
            while at < end:
                if self.searched_bytes > self.max_bytes:
                    self.unread.append(f"{shown}: more than {self.max_bytes} bytes in all")
                    return
                data = os.pread(descriptor, min(_CHUNK_BYTES, end - at), at)
                if not data:
                    break
                at += len(data)
                self.searched_bytes += len(data)
                if any(secret in tail + data for secret in self.secrets):
                    self.places.append(shown)
                    return
                tail = (tail + data)[-overlap:] if overlap else b""


def _open(name: str, folder: int) -> int:
    try:
        return os.open(name, _READ, dir_fd=folder)
    except PermissionError:
        # O_NOATIME is for the owner alone.
        return os.open(name, _READ & ~os.O_NOATIME, dir_fd=folder)


def _data_ranges(descriptor: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that are not holes: a gigabyte of nothing costs nothing (lseek(2))."""
    at, size = 0, os.fstat(descriptor).st_size
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError:
            return  # ENXIO: a hole to the end
        yield start, at
