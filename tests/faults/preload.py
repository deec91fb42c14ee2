"""The last module that a fork server under test loads: from then on its children are wrapped."""

from __future__ import annotations

from .inject import install

install()
