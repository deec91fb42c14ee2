"""Reports as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bench.errors import BenchError
from bench.model import FORMAT, Report

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, report: Report) -> None:
    """Write it as JSON.

    Raises:
        BenchError: the file cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(report), indent=1).decode()
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        BenchError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror}; name another file") from None


def read(path: Path) -> Report:
    """Read what `write` wrote.

    Raises:
        BenchError: there is no such file, or it holds something else.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise BenchError(
            f"{path} is no report of this harness ({error}); write one with --json"
        ) from None
    if report.format != FORMAT:
        raise BenchError(
            f"{path} has format {report.format}, this harness reads {FORMAT}; measure again"
        )
    return report


def check_writable(path: Path | None) -> None:
    """Find out before an hour of measuring that the file cannot be written.

    Raises:
        BenchError: it cannot.
    """
    if path is None:
        return
    if not path.parent.is_dir():
        raise BenchError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    try:
        path.open("ab").close()
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror}; name another file") from None
