"""The bounds of one channel, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from .framing import DEFAULT_MAX_FRAME_BYTES


@dataclass(frozen=True)
class Limits:
    """How much and how long.

    Attributes:
        connect_timeout_s: for connecting and being welcomed; a server gives a client as long to
            say hello.
        send_timeout_s: how long `send` waits for an end that does not read.
        flush_s: how long closing waits for what is still to be sent.
        max_frame_bytes: the largest frame, in both directions.
        max_outbox_bytes: what waits for one slow reader at most; one frame is taken in any case.
        max_inbox_messages: messages that wait to be received.
        max_inbox_bytes: their size on the wire together.
    """

    connect_timeout_s: float = 5.0
    send_timeout_s: float = 5.0
    flush_s: float = 1.0
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    max_outbox_bytes: int = 16 << 20
    max_inbox_messages: int = 10_000
    max_inbox_bytes: int = 256 << 20


@dataclass(frozen=True)
class NodeLimits:
    """How much and how long.

    Attributes:
        ask_timeout_s: the deadline of a request that was given none.
        send_timeout_s: how long a sender waits for a peer that does not read, and for one that is
            being started again.
        connect_timeout_s: for a connection's first word.
        flush_s: how long closing waits for what is still to be sent.
        max_frame_bytes: the largest frame, in both directions.
        high_water_bytes: what waits for one peer before its senders are held back.
        flush_bytes: what is collected before it is sent, at most.
        cold_s: a link that was quiet for so long sends at once.
        tick_s: the service thread's step while there is traffic: the longest that a message waits
            to be flushed, while the thread can run.
    """

    ask_timeout_s: float = 30.0
    send_timeout_s: float = 5.0
    connect_timeout_s: float = 5.0
    flush_s: float = 1.0
    max_frame_bytes: int = 64 << 20
    high_water_bytes: int = 1 << 20
    flush_bytes: int = 32 << 10
    cold_s: float = 50e-6
    tick_s: float = 0.002


DEFAULT_NODE_LIMITS = NodeLimits()
