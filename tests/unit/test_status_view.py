"""The table of `understudy status`."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from understudy.views import status_table, why_nothing_is_given_out


def shown(**agent: Any) -> str:  # noqa: ANN401 - fields of a status
    fields: dict[str, Any] = dict.fromkeys(
        ("current_task", "warm_for", "pid", "last_failure", "waits_for")
    )
    fields |= {"state": "busy", "incarnation": 1, "restarts": 0}
    console = Console(file=io.StringIO(), width=160)
    console.print(status_table({"agents": {"agent_000": fields | agent}}))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_agent_whose_request_is_held_shows_why() -> None:
    assert "busy (rate_limit)" in shown(waits_for="rate_limit")
    assert "(" not in shown()


def test_it_is_said_why_no_task_is_given_out() -> None:
    def why(blocked_by: str | None, paused_s: float = 0.0) -> str | None:
        return why_nothing_is_given_out({"blocked_by": blocked_by, "paused_s": paused_s})

    assert why(None) is None
    assert why("gateway") == "the gateway is not ready"
    assert why("rate_limit", 3599.6) == "the API asks to wait for 3600 s (rate_limit)"
