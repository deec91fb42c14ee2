"""The dead letters of all processes of a system: asked for by its root, told by each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pykka

from understudy.transport import wire
from understudy.transport.dead_letters import DEAD_LETTERS, DeadLetter
from understudy.transport.errors import EncodeError, FrameTooLarge, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from understudy.transport.future import AskFuture
    from understudy.transport.node_base import NodeBase

_VERB = "understudy.dead_letters"
# Of one process in one answer, so that it is no large frame.
_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class SystemDeadLetter(DeadLetter):
    """A dead letter, and the process that keeps it.

    Attributes:
        process: the actor whose process it is; `root` is the system's own.
        is_whole: whether `message` is what was sent. It is None where that is no plain data, or
            did not fit into the answer: such a one can be seen and sent again in its process alone.
    """

    process: str
    is_whole: bool


@dataclass(frozen=True)
class DeadLetterReport:
    """What the processes of a system say of their dead letters.

    Attributes:
        counts: by process, how many there were, by reason. Only processes that had some.
        letters: the newest of each that are kept, the oldest first.
        missing: processes that did not answer in time.
    """

    counts: dict[str, dict[str, int]]
    letters: list[SystemDeadLetter]
    missing: list[str]


def answer_for(node: NodeBase) -> None:
    """Have a process tell of its dead letters when it is asked."""
    codec = node.new_codec()

    def told(letter: DeadLetter, room_bytes: int) -> tuple[list[Any], int]:
        head = [letter.number, letter.target, letter.reason, letter.size_bytes, letter.when_s]
        try:
            size = len(wire.encode(codec, (letter.message,), room_bytes))
        except (EncodeError, FrameTooLarge):
            return [*head, None, False], 0
        return [*head, letter.message, True], size

    def answer(_peer: str, _incarnation: int, payload: dict[str, Any]) -> dict[str, Any]:
        if (number := payload.get("discard")) is not None:
            return {"was_kept": DEAD_LETTERS.discard(number)}
        room_bytes, rows = _ANSWER_BYTES, list[list[Any]]()
        for letter in reversed(DEAD_LETTERS.letters()[-payload["limit"] :]):
            row, size = told(letter, room_bytes)
            room_bytes -= size
            rows.append(row)
        return {"counts": DEAD_LETTERS.counts(), "letters": rows}

    node.on_control(_VERB, answer)


def collect(
    node: NodeBase, processes: Iterable[str], limit: int, timeout_s: float
) -> DeadLetterReport:
    """Ask these processes, all at once, and this one."""
    asked: dict[str, AskFuture] = {}
    report = DeadLetterReport({}, [], [])
    _add(report, node.name, _of_this_process(limit))
    for process in processes:
        try:
            payload = {"limit": limit}
            asked[process] = node.begin_call(process, _VERB, payload, timeout_s=timeout_s)
        except NodeError:
            report.missing.append(process)
    for process, future in asked.items():
        try:
            answer = future.get()
        except (NodeError, pykka.Timeout):
            report.missing.append(process)
        else:
            _add(report, process, answer)
    report.letters.sort(key=lambda letter: letter.when_s)
    return report


def discard(node: NodeBase, letter: SystemDeadLetter, timeout_s: float) -> bool:
    """Have its process keep it no more; whether it did.

    Raises:
        NodeError, pykka.Timeout: the process is gone, or does not answer.
    """
    if letter.process == node.name:
        return DEAD_LETTERS.discard(letter.number)
    payload = {"discard": letter.number}
    return bool(node.call(letter.process, _VERB, payload, timeout_s=timeout_s)["was_kept"])


def _of_this_process(limit: int) -> dict[str, Any]:
    rows = [
        [one.number, one.target, one.reason, one.size_bytes, one.when_s, one.message, True]
        for one in DEAD_LETTERS.letters()[-limit:]
    ]
    return {"counts": DEAD_LETTERS.counts(), "letters": rows}


def _add(report: DeadLetterReport, process: str, answer: dict[str, Any]) -> None:
    if answer["counts"]:
        report.counts[process] = answer["counts"]
    for number, target, reason, size_bytes, when_s, message, is_whole in answer["letters"]:
        report.letters.append(
            SystemDeadLetter(number, target, message, reason, size_bytes, when_s, process, is_whole)
        )
