"""The restart rules of OTP as a table: who is restarted, and whether. Pure."""

from __future__ import annotations

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
