"""From what is known about a child's end to an exit reason. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from .control import EXIT_PERMANENT
from .events import ExitKind, ExitReason
from .ladder import Rung

# Signals by which the kernel or the program itself ends a faulty program.
_FAULTS = frozenset(
    int(number)
    for number in (
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSYS,
        signal.SIGTRAP,
    )
)


@dataclass
class Ending:
    """All that is known about a child's end.

    Args:
        code: its exit code, the negative number of the signal, or None when unknown.
        asked: whether it was asked to end.
        rung: the last rung of the stop ladder that was used.
        verdict: why its supervisor killed it, when that was not for a request.
        said: what it said about its own failure.
        failure_kind: the word with which it said how it failed.
        for_good: whether it said that starting it again is no use.
    """

    code: int | None = None
    asked: bool = False
    rung: Rung | None = None
    verdict: ExitKind | None = None
    said: str = ""
    failure_kind: str | None = None
    for_good: bool = False


def explain_exit(ending: Ending) -> ExitReason:
    """The exit reason."""
    code, said = ending.code, ending.said
    exit_code = code if code is not None and code >= 0 else None
    number = -code if code is not None and code < 0 else None
    kind = _kind(ending)
    detail = said or _describe(kind, ending, exit_code, number)
    return ExitReason(kind, exit_code, number, detail, ending.failure_kind)


def _kind(ending: Ending) -> ExitKind:
    code = ending.code
    if ending.verdict is not None:
        return ending.verdict
    if ending.for_good or code == EXIT_PERMANENT:
        return "permanent"
    if code == 0:
        return "shutdown" if ending.asked else "normal"
    if ending.rung not in (None, Rung.ASK):
        return "killed"
    if code is None:
        return "crash" if ending.said else "unknown"
    return "killed" if code < 0 and -code not in _FAULTS else "crash"


def _describe(kind: ExitKind, ending: Ending, exit_code: int | None, number: int | None) -> str:
    if kind in ("normal", "shutdown"):
        return ""
    if ending.asked and ending.rung not in (None, Rung.ASK):
        return f"it was ended by {ending.rung}"
    if number is not None:
        return f"ended by signal {_signal_name(number)}"
    if exit_code is not None:
        return f"exit code {exit_code}"
    return "nobody was left to see how it ended"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
