"""Without Erlang: skip on a laptop, fail in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs Erlang where it is not installed."""
    if shutil.which("escript") or os.environ.get("CI"):
        return
    for item in items:
        if item.get_closest_marker("otp"):
            item.add_marker(pytest.mark.skip(reason="Erlang is not installed"))
