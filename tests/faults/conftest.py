"""What the tests here share with those from the outside."""

from __future__ import annotations

import os

import pytest

from understudy.actors.paths import cache_dir
from understudy.actors.podman import DEFAULT_CLI_VERSION, ensure_image


@pytest.fixture(scope="session")
def image() -> str:
    """The agent image with the pinned CLI."""
    return ensure_image(DEFAULT_CLI_VERSION, cache_dir(os.environ), env=os.environ).tag
