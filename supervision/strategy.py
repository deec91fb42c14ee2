"""The restart rules as a table: who is restarted, whether, and whether it counts. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .spec import AutoShutdown, Restart, Strategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .events import ExitReason


def wants_restart(restart: Restart, reason: ExitReason) -> bool:
    """Whether a child that ended by itself for `reason` is started again."""
    match restart:
        case _ if reason.kind == "permanent":
            return False
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return reason.kind not in ("normal", "shutdown")
        case Restart.TEMPORARY:
            return False


def is_uncounted(reason: ExitReason | None, uncounted: frozenset[str]) -> bool:
    """Whether a restart for `reason` is none that the restart intensity counts."""
    return reason is not None and _word(reason) in uncounted


def with_verdict(reason: ExitReason, permanent: frozenset[str]) -> ExitReason:
    """The same reason; as `permanent` if its kind of failure is one of those.

    Args:
        reason: of a child's end.
        permanent: kinds of failure that another start does not mend.
    """
    failed = reason.kind not in ("normal", "shutdown")
    return replace(reason, kind="permanent") if failed and _word(reason) in permanent else reason


def _word(reason: ExitReason) -> str:
    return reason.failure_kind or reason.kind


def affected_by(strategy: Strategy, start_order: Sequence[str], fallen: str) -> tuple[str, ...]:
    """The children that are restarted when `fallen` is, itself included, in start order."""
    match strategy:
        case Strategy.ONE_FOR_ONE | Strategy.DYNAMIC:
            return (fallen,)
        case Strategy.ONE_FOR_ALL:
            return tuple(start_order)
        case Strategy.REST_FOR_ONE:
            return tuple(start_order[start_order.index(fallen) :])


def ends_supervisor(auto_shutdown: AutoShutdown, *, significant: bool, others_live: bool) -> bool:
    """Whether the supervisor ends with a child that ended by itself and is not restarted.

    Args:
        auto_shutdown: the supervisor's.
        significant: whether that child is.
        others_live: whether another significant child runs or is being restarted.
    """
    match auto_shutdown:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return significant
        case AutoShutdown.ALL_SIGNIFICANT:
            return significant and not others_live
