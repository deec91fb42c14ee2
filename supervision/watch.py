"""Death watch: who wants to know that which actor has ended, and what they are told. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .events import ExitReason

if TYPE_CHECKING:
    import pykka

ORDERLY = frozenset({"normal", "shutdown"})
"""The kinds of an end that nobody has to mind."""


@dataclass(frozen=True)
class Down:
    """An actor has ended. Comes once for each watch.

    Args:
        ref: the actor, by the very ref that was watched.
        reason: the kind of its end, as in `ExitReason`: `normal` and `shutdown` are orderly;
            `unknown` for one that was dead before and is not remembered.
        exit: all that is known; with the exit code and signal when its process ended.
        incarnation: which start of it ended; 0 when that is not known.
    """

    ref: pykka.ActorRef[Any]
    reason: str
    exit: ExitReason
    incarnation: int

    @property
    def is_orderly(self) -> bool:
        """Whether it ended by its own will or because it was asked to."""
        return self.reason in ORDERLY


@dataclass(frozen=True)
class Death:
    """The end of one incarnation of an actor, as it travels and is remembered."""

    target: str
    incarnation: int
    exit: ExitReason

    def to_wire(self) -> dict[str, Any]:
        """As a control message carries it."""
        end = self.exit
        return {
            "target": self.target,
            "incarnation": self.incarnation,
            "kind": end.kind,
            "exit_code": end.exit_code,
            "signal": end.signal,
            "detail": end.detail,
            "failure_kind": end.failure_kind,
        }

    @classmethod
    def from_wire(cls, record: dict[str, Any]) -> Death:
        """The one that `to_wire` made."""
        end = ExitReason(
            record["kind"],
            record.get("exit_code"),
            record.get("signal"),
            record.get("detail", ""),
            record.get("failure_kind"),
        )
        return cls(record["target"], record["incarnation"], end)


class WatchRegistry:
    """Which watcher watches which actor, and which actors have ended. For one thread at a time.

    A watcher is named `node:number`, a target `node/actor`. A watch is for the incarnation that
    lives when it is made, and is over with the one death it is told of.

    Args:
        remembered: this many deaths are kept for those who ask too late.
    """

    def __init__(self, remembered: int = 10_000) -> None:
        self._remembered = remembered
        self._watchers: dict[str, dict[str, None]] = {}
        self._deaths: dict[str, Death] = {}

    def watch(self, watcher: str, target: str) -> Death | None:
        """Have this watcher told when the target ends; twice is once.

        Returns:
            How it ended, when it has: then there is no watch.
        """
        death = self._deaths.get(target)
        if death is None:
            self._watchers.setdefault(target, {})[watcher] = None
        return death

    def unwatch(self, watcher: str, target: str) -> None:
        """Tell this watcher nothing about the target any more."""
        watchers = self._watchers.get(target, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(target, None)

    def forget(self, node: str) -> None:
        """The watchers of this process are gone; so are their watches."""
        for target, watchers in list(self._watchers.items()):
            for watcher in [w for w in watchers if w.rpartition(":")[0] == node]:
                self.unwatch(watcher, target)

    def is_watched(self, target: str) -> bool:
        """Whether anybody wants to know."""
        return target in self._watchers

    def watched(self, node: str) -> list[str]:
        """The actors of a node that somebody watches."""
        return [target for target in self._watchers if target.partition("/")[0] == node]

    def started(self, target: str) -> None:
        """The target lives, again perhaps: what is remembered of its end is of an older one."""
        self._deaths.pop(target, None)

    def died(self, death: Death) -> list[str]:
        """Take note of a death; who is to be told, in the order in which they began to watch."""
        self._deaths.pop(death.target, None)
        self._deaths[death.target] = death
        if len(self._deaths) > self._remembered:
            del self._deaths[next(iter(self._deaths))]
        return list(self._watchers.pop(death.target, {}))
