"""How a child of the fleet joins the bus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from understudy.transport import ConnectFailed, UnixSocketChannel

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from understudy.supervision import ChildContext

_MESSAGE_TIMEOUT_S = 5.0
_RETRY_WAIT_S = 0.2


def bus_args(path: str, message_timeout_s: float, retry_count: int) -> dict[str, Any]:
    """What a child spec's arguments say about the bus."""
    return {"bus": path, "message_timeout_s": message_timeout_s, "retry_count": retry_count}


def join_bus(
    context: ChildContext, *, sleep: Callable[[float], None] = time.sleep
) -> UnixSocketChannel:
    """Connect under the child's own name and incarnation; tried again as often as configured.

    Raises:
        ConnectFailed: the bus could not be reached.
        TransportError: it refused this child, or cannot be trusted.
    """
    for _ in range(context.args.get("retry_count", 0)):
        try:
            return _connect(context)
        except ConnectFailed:
            sleep(_RETRY_WAIT_S)
    return _connect(context)


def _connect(context: ChildContext) -> UnixSocketChannel:
    timeout_s = context.args.get("message_timeout_s", _MESSAGE_TIMEOUT_S)
    return UnixSocketChannel(
        context.args["bus"],
        name=context.id,
        incarnation=context.incarnation,
        connect_timeout_s=timeout_s,
        send_timeout_s=timeout_s,
    )
