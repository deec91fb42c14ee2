"""A scripted model behind the Messages API's own protocol: for tests, demos and benchmarks.

No part of it thinks. A script in the prompt says what it answers, faults included; without one
it is a small reviewer with fixed rules. docs/fake-api.md describes the scripts.
"""

from __future__ import annotations

from understudy.fakeapi.errors import FakeApiError
from understudy.fakeapi.server import FakeApi, run_server
from understudy.fakeapi.thread import FakeApiThread

__all__ = ["FakeApi", "FakeApiError", "FakeApiThread", "run_server"]
