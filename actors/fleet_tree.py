"""The running fleet as a tree: the root, its supervisors, their children. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from understudy.supervision import ChildStatus, SupervisorStatus

_OF_AGENT = ("container", "container_pid", "current_task", "suspended", "warm_for")


def fleet_tree(
    status: Mapping[str, Any], reports: Mapping[str, SupervisorStatus | None], pid: int
) -> dict[str, Any]:
    """The tree as plain data; what is not known is None.

    Args:
        status: of the root (see `RootActor.status`).
        reports: of the supervisors by their id, in their order of start.
        pid: of the root's process.
    """
    state = "stopping" if status["stopping"] else "failed" if status["problem"] else "running"
    return {
        "id": "root",
        "kind": "root",
        "state": state,
        "pid": pid,
        "queued": status["queued"],
        "running": status["running"],
        "stale_messages": status["stale_messages"],
        "problem": status["problem"],
        "children": [_supervisor(name, report, status) for name, report in reports.items()],
    }


def _supervisor(
    name: str, report: SupervisorStatus | None, status: Mapping[str, Any]
) -> dict[str, Any]:
    if report is None:
        return {"id": name, "kind": "supervisor", "state": "unknown", "children": []}
    return {
        "id": name,
        "kind": "supervisor",
        "state": "running",
        "strategy": report.strategy,
        "intensity": report.intensity,
        "period_s": report.period_s,
        "restarts_in_window": report.restarts_in_window,
        "children": [_child(child, status) for child in report.children],
    }


def _child(child: ChildStatus, status: Mapping[str, Any]) -> dict[str, Any]:
    is_agent = child.child_id in status["agents"]
    record: dict[str, Any] = status["agents" if is_agent else "services"].get(child.child_id, {})
    node = {
        "id": child.child_id,
        "kind": "agent" if is_agent else "service",
        # The root hears of a child a moment later than its supervisor knows.
        "state": record.get("state", child.state.value),
        "process": child.state.value,
        "incarnation": child.incarnation,
        "pid": child.pid,
        "restarts": record.get("restarts", child.restarts),
        "next_start_s": child.next_start_s,
        "last_failure": _failure(record),
    }
    if not is_agent:
        return node
    waits = [wait for wait in status.get("waits", ()) if wait["agent_id"] == child.child_id]
    return node | {key: record[key] for key in _OF_AGENT} | {"waits": waits}


def _failure(record: Mapping[str, Any]) -> dict[str, str] | None:
    text, kind = record.get("last_failure"), record.get("last_failure_kind")
    return {"kind": kind or "unknown", "detail": text} if text else None
