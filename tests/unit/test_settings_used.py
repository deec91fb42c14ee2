"""A setting that nobody reads is a promise nobody keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from understudy.config_schema import LEAVES

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("actors", "src/understudy")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name not in ("settings.py", "config_schema.py")
)


@pytest.mark.parametrize("name", LEAVES)
def test_a_setting_is_read_by_the_program(name: str) -> None:
    assert re.search(rf"\.{LEAVES[name].key}\b", PROGRAM), f"nothing reads {name}"
