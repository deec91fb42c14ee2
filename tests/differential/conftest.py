"""Without Erlang: skip on a laptop, fail in CI. What was played is told also when all is well."""

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which scenarios OTP has played."""
    reports = [r for word in ("passed", "failed") for r in terminalreporter.getreports(word)]
    if any("otp" in report.keywords for report in reports):
        first, count = (os.environ.get("OTP_SEED", "1"), os.environ.get("OTP_SCENARIOS", "500"))
        text = f"OTP played the scenarios of OTP_SEED={first} OTP_SCENARIOS={count}"
        terminalreporter.write_line(text)
