"""What is asked about messages: workloads, who stands beside us in each, and what we want to reach.

Goals are ratios, side by side in one round; reasons and the machine they were set on are in the
README.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.messaging.job import Job
from bench.model import Question

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB, MIB = 1 << 10, 1 << 20

_PEERS = ("understudy", "understudy-peers", "understudy-msgpack", "xoscar", "thespian-udp", "ray")
_TRANSPORTS = ("raw", "mp-pipe", "pyzmq", "pyzmq-msgspec", "pynng")
_LARGE = (
    "understudy",
    "understudy-peers",
    "understudy-msgpack",
    "xoscar",
    "raw",
    "mp-pipe",
    "pyzmq",
    "pynng",
    "ray",
)
_LOCAL = ("understudy-local", "pykka")
_CURVE_BYTES = 256 * MIB
_CURVE_MESSAGES = 50_000
_CURVE_ASKS = 8_000
_CURVE_ROUNDS = 3
"""At most: a curve shows how something grows, and is judged by no ratio."""


@dataclass(frozen=True)
class Workload:
    """A question, the job that answers it, and who does it."""

    question: Question
    job: Job
    contenders: tuple[str, ...]
    rounds_at_most: int = 1_000


def _rate(key: str, title: str, unit: str = "messages/s", **more: object) -> Question:
    """More a second is better."""
    fields = {"metric": "per_s", "more_is_better": True, "subject": "understudy", **more}
    return Question(key, title, unit=unit, **fields)  # type: ignore[arg-type]


def _time(key: str, title: str, metric: str, unit: str, **more: object) -> Question:
    """Less is better."""
    fields = {"more_is_better": False, "subject": "understudy", **more}
    return Question(key, title, metric, unit, **fields)  # type: ignore[arg-type]


WORKLOADS = (
    Workload(
        _rate(
            "W1", "tell, 400 B, one sender to one receiver", also=("sent_per_s",),
            goals={"xoscar": 14, "thespian-udp": 14, "ray": 80, "pyzmq-msgspec": 0.9, "raw": 0.45},
        ),
        Job("tell", 100_000),
        (*_PEERS, "thespian-tcp", *_TRANSPORTS),
    ),
    Workload(
        _rate("W2a", "tell, 10 KiB", "MB/s", metric="mb_per_s", goals={"xoscar": 8}),
        Job("tell", 20_000, payload_bytes=10 * KIB),
        _LARGE,
    ),
    Workload(
        _rate("W2b", "tell, 1 MiB", "MB/s", metric="mb_per_s", goals={"xoscar": 4}),
        Job("tell", 500, payload_bytes=MIB),
        _LARGE,
    ),
    Workload(
        _time(
            "W3", "ask, one outstanding, both ends on one CPU, p50", "p50_us", "\u00b5s",
            goals={"xoscar": 7, "raw": 1 / 2.4}, also=("p99_us",), pinned=True,
        ),
        Job("ask", 5_000),
        (*_PEERS, *_TRANSPORTS),
    ),
    Workload(
        _rate("W4", "ask, 64 outstanding", "asks/s", goals={"xoscar": 7}),
        Job("asks", 30_000, outstanding=64),
        (*_PEERS, *_TRANSPORTS[1:]),
    ),
    Workload(
        _rate(
            "W5", "rounds of one ask to each of 8 processes", "asks/s",
            goals={"xoscar": 6, "thespian-udp": 4},
        ),
        Job("fan", 2_000, workers=8),
        (*_PEERS, *_TRANSPORTS[1:]),
    ),
    Workload(
        _time(
            "W6", "a new actor process, until its first reply", "ms", "ms",
            limits={"ms": 12, "uss_mb": 8}, also=("uss_mb", "pss_mb", "rss_mb"),
        ),
        Job("spawn", 7),
        ("understudy", "xoscar", "thespian-udp", "ray", "mp-forkserver", "mp-spawn"),
    ),
    Workload(
        _rate("W7", "tell within a process", subject="understudy-local", goals={"pykka": 2.5}),
        Job("tell", 100_000),
        _LOCAL,
    ),
    Workload(
        _time(
            "stop", "stop an actor behind 100,000 waiting messages", "ms", "ms",
            subject="understudy-local", limits={"ms": 50},
        ),
        Job("stop", 1, depth=100_000),
        _LOCAL,
    ),
    Workload(
        _time(
            "stop-process", "the same, the actor in a process of its own", "ms", "ms",
            limits={"ms": 50},
        ),
        Job("stop", 1, depth=100_000),
        ("understudy",),
    ),
    Workload(
        _time(
            "overload", "ten times what the receiver can handle: growth of memory", "growth_mb",
            "MB", limits={"growth_mb": 8, "lost": 0},
            also=("lost", "accepted_per_s", "rejected", "drain_s", "peak_mb"),
        ),
        Job("overload", 1, seconds=60),
        ("understudy",),
        rounds_at_most=1,
    ),
)  # fmt: skip


def curves() -> Iterator[Workload]:
    """Growth curves: a workload for each point."""
    for count in (1, 2, 4, 8, 16, 32, 64):
        question = _rate(f"processes@{count}", "rounds of one ask to each actor process", "asks/s")
        job = Job("fan", max(_CURVE_ASKS // count, 100), workers=count)
        yield Workload(question, job, ("understudy", "mp-pipe"), _CURVE_ROUNDS)
    for count in (1, 10, 100, 1_000):
        question = _rate(
            f"actors@{count}", "tells in turn to the actors of one process",
            subject="understudy-local", also=("kb_each", "start_us"),
        )  # fmt: skip
        yield Workload(question, Job("actors", 50_000, workers=count), _LOCAL, _CURVE_ROUNDS)
    for size in (100, KIB, 10 * KIB, 100 * KIB, MIB, 16 * MIB):
        question = _rate(f"payload@{size}", "tell, by bytes of payload", "MB/s", metric="mb_per_s")
        job = Job("tell", max(8, min(_CURVE_MESSAGES, _CURVE_BYTES // size)), payload_bytes=size)
        yield Workload(question, job, ("understudy", "raw", "pyzmq"), _CURVE_ROUNDS)
    for depth in (1, 10, 100, 1_000, 10_000, 100_000):
        question = _rate(
            f"depth@{depth}", "fill a mailbox that deep, then drain it",
            subject="understudy-local",
        )  # fmt: skip
        job = Job("depth", max(depth, min(1_000 * depth, 20_000)), depth=depth)
        yield Workload(question, job, _LOCAL, _CURVE_ROUNDS)


def for_seconds(workload: Workload, seconds: float) -> Workload:
    """An overload for another time; other workloads as they are."""
    if workload.job.kind != "overload":
        return workload
    return replace(workload, job=replace(workload.job, seconds=seconds))
