"""The fleet's two supervisors: of the services, and of the agents that rely on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

from understudy.supervision import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.supervision import ChildEvent, ForkServer, SupervisorSpec, SupervisorStatus

# What a child that does not listen takes beyond its time, to its end by SIGKILL.
_DEAF_CHILD_S = 8.0
_MARGIN_S = 30.0
_REPORT_S = 2.0


class FleetSupervisors:
    """Usable from any thread once both are started.

    Args:
        forks: where the processes come from.
        listener: told of every event, in a supervisor's thread.
        first_incarnation: the number of each child's first start.
    """

    def __init__(
        self, forks: ForkServer, listener: Callable[[ChildEvent], None], first_incarnation: int
    ) -> None:
        self._forks = forks
        self._listener = listener
        self._first = first_incarnation
        self._supervisors: dict[str, Any] = {}
        self._of_child: dict[str, Any] = {}

    def start(self, rules: SupervisorSpec) -> Callable[[], object]:
        """Start a supervisor; what is returned ends it, its children first, one after the other."""
        ref = Supervisor.start(rules, self._forks, self._listener, first_incarnation=self._first)
        self._supervisors[rules.id] = ref.proxy()
        self._of_child.update({child.id: self._supervisors[rules.id] for child in rules.children})
        own_s = sum(child.shutdown_s or 0.0 for child in rules.children)
        limit_s = own_s + len(rules.children) * _DEAF_CHILD_S + _MARGIN_S
        return lambda: ref.stop(block=True, timeout=limit_s)

    def kill(self, child_id: str) -> None:
        """Kill a child that does not answer: its supervisor's rules apply. Returns at once."""
        self._of_child[child_id].kill_child(child_id)

    def renew(self, child_id: str) -> None:
        """Have a child end in good order and start again, uncounted. Returns at once."""
        self._of_child[child_id].renew_child(child_id)

    def reports(self) -> dict[str, SupervisorStatus | None]:
        """How each supervisor and its children stand; None for one that has ended or is busy."""
        return {name: _report(proxy) for name, proxy in self._supervisors.items()}


def _report(supervisor: Any) -> SupervisorStatus | None:  # noqa: ANN401 - a proxy
    try:
        report: SupervisorStatus = supervisor.report().get(timeout=_REPORT_S)
    except (pykka.ActorDeadError, pykka.Timeout):
        return None
    return report
