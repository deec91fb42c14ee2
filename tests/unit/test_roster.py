from __future__ import annotations

from typing import Any

from understudy.actors.roster import Roster


def reached(roster: Roster, host: str | None, **fields: Any) -> dict[str, dict[str, int]]:  # noqa: ANN401
    roster.note_report({"kind": "egress", "agent_id": "agent_000", "host": host, **fields})
    shown: dict[str, dict[str, int]] = roster["agent_000"].to_status()["egress"]
    return shown


def test_what_an_agent_reached_is_summed_up_by_host() -> None:
    roster = Roster(["agent_000"])
    reached(roster, "a.org:443", sent_bytes=10, received_bytes=200, refused=None)
    reached(roster, None, refused="this is no request")
    assert reached(roster, "a.org:443", sent_bytes=1, received_bytes=2, refused="cut") == {
        "a.org:443": {"connections": 2, "refused": 1, "sent_bytes": 11, "received_bytes": 202},
        "no host": {"connections": 1, "refused": 1, "sent_bytes": 0, "received_bytes": 0},
    }


def test_names_that_an_agent_makes_up_take_no_room_without_end() -> None:
    roster = Roster(["agent_000"])
    for number in range(999):
        reached(roster, f"h{number}.org:443", refused="no")
    hosts = reached(roster, "one.more:443", refused="no")
    assert len(hosts) == 101
    assert hosts["others"]["connections"] == 900


def test_a_report_on_an_unknown_agent_is_dropped() -> None:
    roster = Roster(["agent_000"])
    for kind in ("usage", "waiting", "egress"):
        roster.note_report({"kind": kind, "agent_id": "agent_007"})
    assert roster["agent_000"].to_status()["egress"] == {}
