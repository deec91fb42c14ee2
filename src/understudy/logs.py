"""Where log records go: all of them to a file, what a person must see to standard error."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from understudy.actors.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Plain(logging.Formatter):
    """Words of agents and their commands are in it; none commands the terminal that shows it."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Brief(_Plain):
    """One line for each record; the traceback is in the file."""

    def formatException(self, ei: object) -> str:  # noqa: N802 - the standard library's name
        del ei
        return ""

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None
        text = super().format(record).rstrip()
        record.exc_text = None
        return text


class _File(logging.FileHandler):
    """Says once, in a line, that it cannot write; logging itself prints a traceback each time."""

    _is_told = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # the file is opened with the first record
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as above
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._is_told:
            self._is_told = True
            why = error.strerror or error
            sys.stderr.write(f"understudy: the log {self.baseFilename} lacks records: {why}\n")


def configure_logging(folder: Path, level: str, *, on_stderr: int) -> None:
    """Log to `folder/understudy.log` from `level` up, and to standard error from `on_stderr` up."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = _File(folder / "understudy.log", encoding="utf-8", delay=True)
    file.setFormatter(_Plain(_FORMAT))
    file.setLevel(level)
    stderr = logging.StreamHandler()
    stderr.setFormatter(_Brief(_FORMAT))
    stderr.setLevel(on_stderr)
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers = [file, stderr]
    # It logs, with a traceback, each error that it hands to a caller; the caller tells it already.
    logging.getLogger("pykka").setLevel(logging.WARNING)
