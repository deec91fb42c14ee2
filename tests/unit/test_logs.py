"""A log that cannot be written is told in a line, and stops nobody."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import pytest

from understudy.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, pykka = logging.getLogger(), logging.getLogger("pykka")
    handlers, level, pykkas = root.handlers, root.level, pykka.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            with contextlib.suppress(OSError):
                handler.close()
    root.handlers = handlers
    root.setLevel(level)
    pykka.setLevel(pykkas)


def test_a_full_disk_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "understudy.log").symlink_to("/dev/full")
    configure_logging(tmp_path, "INFO", on_stderr=logging.CRITICAL)
    for number in range(3):
        logging.getLogger("a").info("record %d", number)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"understudy: the log {tmp_path}/understudy.log lacks records: No space")


def test_a_log_that_cannot_be_opened_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "understudy.log").mkdir()
    configure_logging(tmp_path, "INFO", on_stderr=logging.CRITICAL)
    for number in range(3):
        logging.getLogger("a").info("record %d", number)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("lacks records: Is a directory")


def test_a_record_that_cannot_be_put_together_is_a_defect_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(tmp_path, "INFO", on_stderr=logging.CRITICAL)
    logging.getLogger("a").info("%d", "no number")
    assert "Logging error" in capsys.readouterr().err
