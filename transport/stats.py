"""What a channel and a protocol count: nothing is dropped unseen."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True)
class ChannelStats:
    """Counters of one channel since it was opened.

    Attributes:
        sent: messages this end wrote that were handed to the system or wait for it.
        received: messages put into this end's inbox.
        forwarded: messages a server passed on, once for each receiver.
        dropped_unknown_type: messages of a type this version does not know.
        dropped_malformed: records and frames that could not be understood.
        dropped_inbox_full: messages for this end that found its inbox full.
        dropped_slow_peer: messages that could not be passed on because the receiver did not read.
        dropped_unknown_peer: messages for a name that was not connected.
        dropped_stale: messages of an incarnation that had been replaced.
        refused_hellos: connections that were not taken.
        half_frames: connections that ended in the middle of a frame.
        oversize_frames: frames over the limit; each ended its connection.
    """

    sent: int = 0
    received: int = 0
    forwarded: int = 0
    dropped_unknown_type: int = 0
    dropped_malformed: int = 0
    dropped_inbox_full: int = 0
    dropped_slow_peer: int = 0
    dropped_unknown_peer: int = 0
    dropped_stale: int = 0
    refused_hellos: int = 0
    half_frames: int = 0
    oversize_frames: int = 0


@dataclass(frozen=True)
class ProtocolStats:
    """What a protocol dropped, and what failed, since it was made.

    Attributes:
        late: answers to requests that had their answer, or had run out of time.
        duplicates: requests that had come before; not run again.
        answered_again: of these, those that got their answer once more.
        retried: requests that were sent again.
        expired: requests that came after their deadline.
        stale: messages of an incarnation older than the newest heard of its sender.
        unhandled: messages of a type without a handler.
        failed: handlers and callbacks that raised.
    """

    late: int = 0
    duplicates: int = 0
    answered_again: int = 0
    retried: int = 0
    expired: int = 0
    stale: int = 0
    unhandled: int = 0
    failed: int = 0


class Recorder(Generic[S]):
    """Counts from any thread; the counters are the fields of a dataclass."""

    def __init__(self, stats_type: type[S]) -> None:
        self._stats_type = stats_type
        self._lock = threading.Lock()
        self._counts = {field.name: 0 for field in fields(stats_type)}

    def add(self, counter: str, amount: int = 1) -> None:
        """Raise a counter; a KeyError is a misspelt one."""
        with self._lock:
            self._counts[counter] += amount

    def snapshot(self) -> S:
        """All counters at one moment."""
        with self._lock:
            return self._stats_type(**self._counts)
