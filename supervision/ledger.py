"""What children spend, and what their parent grants them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from .events import ChildEvent, ChildState
from .signals import Grant, Spent, Tell

if TYPE_CHECKING:
    from .decisions import Decisions
    from .record import Record


class Ledger:
    """Counts what is spent and ends who has spent all, by the `decisions` of its supervisor."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._steps = decisions.steps

    def take(self, happened: Spent | Grant) -> None:
        """Count what was spent, or may be."""
        if isinstance(happened, Spent):
            self._on_spent(happened)
        else:
            self._on_grant(happened)

    def _on_spent(self, spent: Spent) -> None:
        # What an older incarnation spent is spent too; its news may come late.
        child = self._steps.children.get(spent.child_id)
        if child is None or not 0 < spent.incarnation <= child.incarnation:
            return
        if child.account.add(spent.amount):
            self._tell(child, "budget_warning")
        if self._decisions.closing or child.unwanted or child.is_dry:
            return
        if child.state is ChildState.WAITING and not child.account.pays_for_start:
            self._decisions.run_dry(child)
        elif child.is_running and child.account.is_spent:
            child.is_dry = True
            self._tell(child, "budget_spent")
            self._steps.stop(child)

    def _on_grant(self, grant: Grant) -> None:
        # A child that rests for want of it is started.
        child = self._steps.children.get(grant.child_id)
        if child is None:
            return
        child.account.grant(grant.amount)
        rests = child.is_dry and child.state is ChildState.STOPPED
        if rests and child.account.pays_for_start and not self._decisions.closing:
            child.is_dry = False
            self._decisions.plan_start(child)

    def _tell(self, child: Record, kind: Literal["budget_warning", "budget_spent"]) -> None:
        account = child.account
        info: dict[str, Any] = {"spent": account.spent, "limit": account.limit}
        if account.budget is not None:
            info |= {"unit": account.budget.unit, "meter": account.budget.meter}
        event = ChildEvent(child.spec.id, kind, child.incarnation, info=info)
        self._steps.out.append(Tell(event))
