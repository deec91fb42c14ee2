"""What a supervisor is told about its children: pure data, checked when it is made."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

import msgpack

from .errors import InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .backoff import Backoff
    from .budget import Budget

_MAX_ARGS_BYTES = 32 << 20
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class Restart(StrEnum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always, however it ended."""
    TRANSIENT = "transient"
    """Only when it did not end by its own will (`normal`) or by request (`shutdown`)."""
    TEMPORARY = "temporary"
    """Never; it is forgotten when it ends."""


class Strategy(StrEnum):
    """Who is restarted with a child that fell."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody else."""
    ONE_FOR_ALL = "one_for_all"
    """All children."""
    REST_FOR_ONE = "rest_for_one"
    """The children that were started after it."""
    DYNAMIC = "dynamic"
    """Nobody else; who ended is forgotten, and all are stopped at once (`simple_one_for_one`)."""


class AutoShutdown(StrEnum):
    """Whether a supervisor ends with its significant children."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    """When one of them has ended by itself and is not restarted."""
    ALL_SIGNIFICANT = "all_significant"
    """When the last of them has."""


@dataclass(frozen=True)
class ChildSpec:
    """One child, in a process of its own.

    Args:
        id: its name, unique among its siblings.
        target: the function that is its life, as `package.module:function`; called in the child's
            main thread with its `ChildContext`.
        args: what the target gets as `context.args`; only what msgpack can carry.
        restart: when it is started again.
        shutdown_s: how long it may take to end when asked; then it is ended. 0: it is killed
            without being asked. None: it is waited for without a limit.
        start_timeout_s: how long it may take to call `context.ready()`.
        backoff: the wait before it is started again; None: at once.
        liveness_interval_s: its loop must answer a ping within this time, or it is killed as
            hung; None: it is not pinged.
        env: environment variables on top of those of the fork server.
        log_path: a file that its stdout and stderr are appended to; None: the parent's stderr.
        significant: its end may be the supervisor's, see `AutoShutdown`; never with `permanent`.
        budget: what it may spend; None: it is not limited.

    Raises:
        InvalidSpec: a field makes no sense; the error says which.
    """

    id: str
    target: str
    args: Mapping[str, Any] = field(default_factory=dict[str, Any])
    restart: Restart = Restart.PERMANENT
    shutdown_s: float | None = 10.0
    start_timeout_s: float = 60.0
    backoff: Backoff | None = None
    liveness_interval_s: float | None = None
    env: Mapping[str, str] | None = None
    log_path: str | None = None
    significant: bool = False
    budget: Budget | None = None

    def __post_init__(self) -> None:
        self._require(bool(self.id), "id", "must not be empty")
        self._require(
            _TARGET.fullmatch(self.target) is not None,
            "target",
            f"{self.target!r} is not of the form package.module:function",
        )
        self._require(
            self.restart in tuple(Restart), "restart", f"must be one of {_words(Restart)}"
        )
        object.__setattr__(self, "restart", Restart(self.restart))
        self._check_significant()
        self._check_times()
        self._check_carriable()

    def _check_significant(self) -> None:
        self._require(type(self.significant) is bool, "significant", "must be true or false")
        if self.significant and self.restart is Restart.PERMANENT:
            raise InvalidSpec(
                "bad_combination",
                f"child {self.id}: significant",
                "a permanent child never ends for good; make it transient or temporary",
            )

    def _check_times(self) -> None:
        self._require(
            self.shutdown_s is None or 0 <= self.shutdown_s < math.inf,
            "shutdown_s",
            "must be 0 (kill), more seconds, or None (no limit)",
        )
        self._require(
            0 < self.start_timeout_s < math.inf, "start_timeout_s", "must be more than 0 seconds"
        )
        self._require(
            self.liveness_interval_s is None or 0 < self.liveness_interval_s < math.inf,
            "liveness_interval_s",
            "must be more than 0 seconds, or None (not pinged)",
        )

    def _check_carriable(self) -> None:
        try:
            size_bytes = len(msgpack.packb(dict(self.args)))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            detail = f"cannot be sent to the child: {error}"
            raise InvalidSpec("invalid_args", f"child {self.id}: args", detail) from error
        self._require(
            size_bytes <= _MAX_ARGS_BYTES,
            "args",
            f"{size_bytes} bytes are over the limit of {_MAX_ARGS_BYTES}; pass a file's path",
        )
        for name, value in (self.env or {}).items():
            self._require(
                _is_variable(name, value),
                "env",
                f"{name!r} is no environment variable: names and values are texts without NUL, "
                "names are not empty and have no equals sign",
            )

    def _require(self, holds: bool, name: str, detail: str) -> None:
        if not holds:
            raise InvalidSpec(f"invalid_{name}", f"child {self.id or '?'}: {name}", detail)


@dataclass(frozen=True)
class SupervisorSpec:
    """A supervisor and its children, in the order in which they are started.

    Args:
        id: its name; events about the supervisor itself carry it as their `child_id`.
        strategy: who is restarted with a child that fell.
        intensity: this many restarts within `period_s` are borne; one more, and the supervisor
            ends all its children and itself.
        period_s: the window in seconds.
        children: the children at the start.
        auto_shutdown: whether it ends with its significant children.
        exact: to the letter as OTP: one thing at a time, what comes in meanwhile waits, and a first
            start that fails ends the supervisor. Otherwise, as suits slow starts: restarts of
            different children overlap, a shutdown gets in at once, first starts are tried again.
        uncounted_kinds: kinds of failure (an exit's `failure_kind`, else its `kind`) after which a
            child is restarted with its backoff, but not counted in the window: it is not at fault.
        permanent_kinds: kinds of failure after which a child is not restarted: no use.

    Raises:
        InvalidSpec: a field makes no sense, two children have one id, or a child is significant
            and `auto_shutdown` is never.
    """

    id: str
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 3
    period_s: float = 5.0
    children: tuple[ChildSpec, ...] = ()
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    exact: bool = False
    uncounted_kinds: frozenset[str] = frozenset()
    permanent_kinds: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._require(bool(self.id), "invalid_id", "id", "must not be empty")
        self._check_word("strategy", Strategy)
        self._check_word("auto_shutdown", AutoShutdown)
        self._require(
            self.intensity >= 0, "invalid_intensity", "intensity", "must be 0 or more restarts"
        )
        self._require(
            0 < self.period_s < math.inf,
            "invalid_period",
            "period_s",
            "must be more than 0 seconds",
        )
        self._check_kinds()
        twice = [i for i, n in Counter(child.id for child in self.children).items() if n > 1]
        self._require(
            not twice, "duplicate_child", "children", f"more than one is named {', '.join(twice)}"
        )
        for child in self.children:
            self.check_child(child)

    def check_child(self, child: ChildSpec) -> None:
        """Whether this supervisor can have that child.

        Raises:
            InvalidSpec: it is significant, and `auto_shutdown` is never; it has a backoff or a
                budget, and the supervisor is `exact`; or it has no backoff to slow down restarts
                that do not count.
        """
        for extra in ("backoff", "budget"):
            self._require(
                not self.exact or getattr(child, extra) is None,
                "bad_combination",
                "exact",
                f"OTP has no {extra}, but child {child.id} has one; leave out either",
            )
        self._require(
            not child.significant or self.auto_shutdown is not AutoShutdown.NEVER,
            "bad_combination",
            "auto_shutdown",
            f"is never, but child {child.id} is significant; "
            f"set it to {AutoShutdown.ANY_SIGNIFICANT} or {AutoShutdown.ALL_SIGNIFICANT}",
        )
        slows_down = child.backoff is not None and child.backoff.min_s > 0
        self._require(
            not self.uncounted_kinds or slows_down or child.restart is Restart.TEMPORARY,
            "bad_combination",
            "uncounted_kinds",
            f"nothing would hold up the restarts of child {child.id}; give it a backoff",
        )

    def _check_kinds(self) -> None:
        for name in ("uncounted_kinds", "permanent_kinds"):
            kinds: object = getattr(self, name)
            is_words = isinstance(kinds, frozenset) and all(
                isinstance(kind, str) and kind for kind in cast("frozenset[object]", kinds)
            )
            self._require(is_words, f"invalid_{name}", name, "must be a frozenset of words")
            self._require(
                not self.exact or not kinds,
                "bad_combination",
                "exact",
                f"OTP has no {name}; leave out either",
            )
        both = sorted(self.uncounted_kinds & self.permanent_kinds)
        self._require(
            not both, "bad_combination", "permanent_kinds", f"{', '.join(both)} cannot be both"
        )

    def _check_word(self, name: str, words: type[StrEnum]) -> None:
        value = getattr(self, name)
        self._require(
            value in tuple(words), f"invalid_{name}", name, f"must be one of {_words(words)}"
        )
        object.__setattr__(self, name, words(value))

    def _require(self, holds: bool, reason: str, name: str, detail: str) -> None:
        if not holds:
            raise InvalidSpec(reason, f"supervisor {self.id or '?'}: {name}", detail)


def _is_variable(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    return bool(name) and "=" not in name and "\0" not in name + value


def _words(words: type[StrEnum]) -> str:
    return ", ".join(words)
