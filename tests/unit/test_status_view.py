"""The table of `understudy status`."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from understudy.views import status_table


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
