"""What the core knows of one child. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .budget import Account
from .events import ChildState, ChildStatus, ExitReason
from .signals import Answer, Op, Result
from .spec import Restart

if TYPE_CHECKING:
    from .spec import ChildSpec

RUNNING = (ChildState.STARTING, ChildState.READY, ChildState.STOPPING)


@dataclass
class Record:
    """One child, its state, and who waits to hear of it.

    Args:
        failures: in a row, for the backoff.
        unwanted: it was asked to end and does not come back by a sibling's restart.
        renewed: it was asked to end and to start again.
        is_dry: its budget ended it, or is about to; it does not come back before a grant.
        account: what it has spent, over all its incarnations.
        asked: the requests that are answered when it is up or down.
    """

    spec: ChildSpec
    state: ChildState = ChildState.WAITING
    incarnation: int = 0
    restarts: int = 0
    failures: int = 0
    ready_at: float | None = None
    unwanted: bool = False
    renewed: bool = False
    last_reason: ExitReason | None = None
    is_dry: bool = False
    asked: list[Op] = field(default_factory=list[Op])
    account: Account = field(init=False)

    def __post_init__(self) -> None:
        self.account = Account(self.spec.budget)

    @property
    def can_start(self) -> bool:
        """Whether it is started together with a sibling."""
        # A temporary one comes once: also when a sibling fell before its turn had come.
        comes = self.spec.restart is not Restart.TEMPORARY or self.incarnation == 0
        lasting = comes and self.state is not ChildState.FAILED
        return lasting and not self.unwanted and not self.is_dry and self.account.pays_for_start

    @property
    def is_running(self) -> bool:
        """Whether it has a process, as far as is known here."""
        return self.state in RUNNING

    @property
    def is_down(self) -> bool:
        """Whether it neither runs nor is going to."""
        return self.state in (ChildState.STOPPED, ChildState.FAILED)

    @property
    def is_asked_to_start(self) -> bool:
        """Whether somebody waits to hear that it is up."""
        return Op.START_CHILD in self.asked or Op.RESTART in self.asked

    def status(self, next_start_s: float | None = None) -> ChildStatus:
        """For people; `pid` is not known here."""
        return ChildStatus(
            *(self.spec.id, self.state, self.incarnation, self.restarts, None, self.last_reason),
            *(self.failures, next_start_s),
            spent=self.account.spent,
            limit=self.account.limit,
        )

    def answers(self) -> list[Answer]:
        """What those who wait are told now that it is up, or down; once."""
        is_up = not self.is_down
        told = [op for op in self.asked if not (is_up and op is Op.TERMINATE)]
        self.asked = [op for op in self.asked if op not in told]
        return [Answer(op, self.spec.id, self._result(op, is_up=is_up)) for op in told]

    @staticmethod
    def _result(op: Op, *, is_up: bool) -> Result:
        return Result.OK if is_up or op is Op.TERMINATE else Result.START_FAILED


def refusal(op: Op, child: Record | None) -> Result | None:
    """What is answered at once to a request that cannot be done, as by OTP; None: it can."""
    if child is None:
        return None if op is Op.START_CHILD else Result.NOT_FOUND
    match op:
        case Op.START_CHILD:
            return Result.ALREADY_STARTED if child.is_running else Result.ALREADY_PRESENT
        case Op.RESTART | Op.DELETE if child.is_running:
            return Result.RUNNING
        case Op.RESTART | Op.DELETE if child.state is ChildState.WAITING:
            return Result.RESTARTING
        case Op.RESTART if not child.account.pays_for_start:
            return Result.NO_BUDGET
        case _:
            return None
