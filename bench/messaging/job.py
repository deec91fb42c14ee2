"""What a contender is told to do, and what every contender does alike. Standard library only.

The messages, what a receiver does with one, and how numbers are made of times are the same for
all, so that only the way between sender and receiver differs. CLOCK_MONOTONIC is one clock for all
processes of a machine: the sender reads it before its first message, the receiver after it
handled the last.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

clock = time.monotonic

Message = dict[str, Any]
Values = dict[str, float]

_POOL = 256
_POOL_BYTES = 16 << 20
_PAGE_LINES = {"Rss": "rss_mb", "Pss": "pss_mb"}


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        kind: `tell`, `ask` (one outstanding), `asks` (several), `fan` (a round is one ask to each
            worker), `spawn`, `stop`, `depth`, `actors`, `overload`.
        n: messages, round trips, rounds or processes, by kind.
        payload_bytes: 0 is a message of about 400 bytes, as agents send them.
        outstanding: asks that wait for their reply at once.
        workers: receivers.
        depth: messages that wait in a mailbox.
        seconds: how long an overload lasts.
    """

    kind: str
    n: int
    payload_bytes: int = 0
    outstanding: int = 1
    workers: int = 1
    depth: int = 0
    seconds: float = 0.0

    def to_json(self) -> str:
        """As one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The reverse."""
        return cls(**json.loads(text))

    @property
    def counted(self) -> int:
        """How many messages the receiver waits for before it notes the time; -1 for none."""
        return self.n if self.kind == "tell" else -1


def new_id() -> str:
    """As long as a UUID's text. That module is not imported: actors' processes would pay for it."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def message(number: int, payload_bytes: int = 0) -> Message:
    """One message between agents."""
    payload: dict[str, Any] = {
        "role": "assistant",
        "content": f"step {number:06d}: the quick brown fox jumps over the lazy dog, " * 2,
        "step": number,
        "score": 0.5 + number / 7,
        "tool": "search",
        "done": False,
        "tags": ["alpha", "beta"],
    }
    if payload_bytes:
        payload = {"data": (os.urandom(64) * (payload_bytes // 64 + 1))[:payload_bytes]}
    return {
        "message_id": new_id(),
        "sender_id": f"agent-{number % 97:08d}",
        "receiver_id": f"agent-{number % 89:08d}",
        "type": "task.request",
        "payload": payload,
        "timestamp": time.time(),
        "correlation_id": new_id(),
    }


def pool(job: Job) -> list[Message]:
    """Messages to send in turn, made before the clock runs."""
    size = _POOL
    if job.payload_bytes:
        size = max(1, min(_POOL, _POOL_BYTES // job.payload_bytes))
    return [message(number, job.payload_bytes) for number in range(size)]


class Counter:
    """What every receiver does with a message: look into it, count it, time the last one."""

    __slots__ = ("last", "n", "t", "want")

    def __init__(self, want: int = -1) -> None:
        self.n = 0
        self.want = want
        self.t = 0.0
        self.last = ""

    def __call__(self, received: Message) -> bool:
        """Count one; whether it was the last."""
        self.last = received["message_id"]
        self.n += 1
        if self.n == self.want:
            self.t = clock()
            return True
        return False


def reply_to(received: Message) -> Message:
    """What every asked receiver answers: about 100 bytes."""
    step = received["payload"].get("step", 0)
    return {
        "correlation_id": received["correlation_id"],
        "status": "ok",
        "result": {"step": step},
    }


def told(job: Job, began: float, ended: float) -> Values:
    """What `n` messages in that time are."""
    took = ended - began
    return {"per_s": job.n / took, "mb_per_s": job.n * job.payload_bytes / took / 1e6}


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def round_trips(times: list[float]) -> Values:
    """What these round trips are; the first tenth warmed up and does not count."""
    counted = times[len(times) // 10 :]
    return {
        "p50_us": percentile(counted, 0.5) * 1e6,
        "p99_us": percentile(counted, 0.99) * 1e6,
        "per_s": len(counted) / sum(counted),
    }


def started(times: list[float], pid: int) -> Values:
    """What it took to start these, and the memory of the process `pid`."""
    return {"ms": percentile(times, 0.5) * 1e3, "max_ms": max(times) * 1e3, **memory(pid)}


def memory(pid: int) -> Values:
    """Memory of a process in MB (1e6): resident, shared out among its users, its own alone."""
    found: Values = {"rss_mb": 0.0, "pss_mb": 0.0, "uss_mb": 0.0}
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        megabytes = int(rest.split()[0]) * 1024 / 1e6
        if name in _PAGE_LINES:
            found[_PAGE_LINES[name]] = megabytes
        elif name in ("Private_Clean", "Private_Dirty"):
            found["uss_mb"] += megabytes
    return found
