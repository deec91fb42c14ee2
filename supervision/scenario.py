"""A scripted life of a supervisor, as `understudy simulate` and its tests play it. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from .signals import Op
from .spec_reader import SpecReader, check_child
from .written import Miswritten, Place, child_id, mapping, number, sequence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .spec import ChildSpec, SupervisorSpec

Reason = Literal["crash", "normal", "shutdown", "killed"]

_TARGET = "understudy.supervision.simulate:nothing"
_STEP = (
    *("exit", "reason", "fail_start", "times", "terminate", "restart", "delete", "start"),
    *("kind", "spend", "grant", "amount", "wait", "together"),
)
_OPS = {"terminate": Op.TERMINATE, "restart": Op.RESTART, "delete": Op.DELETE}


@dataclass(frozen=True)
class Exit:
    """A child ends by itself; `kind` is its kind of failure."""

    child_id: str
    reason: Reason = "crash"
    kind: str | None = None


@dataclass(frozen=True)
class FailStart:
    """The next `times` starts of a child fail."""

    child_id: str
    times: int = 1


@dataclass(frozen=True)
class Ask:
    """Somebody asks the supervisor to do something about a child."""

    op: Op
    child_id: str
    spec: ChildSpec | None = None


@dataclass(frozen=True)
class Spend:
    """A child spends something."""

    child_id: str
    amount: float


@dataclass(frozen=True)
class Allow:
    """A child is granted more."""

    child_id: str
    amount: float


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: float


Event = Exit | FailStart | Ask | Spend | Allow


@dataclass(frozen=True)
class Together:
    """All of these happen before the supervisor looks; it takes them in this order."""

    steps: tuple[Event, ...]


Step = Event | Wait | Together


@dataclass(frozen=True)
class Scenario:
    """What is supervised, and what happens to it."""

    supervisor: SupervisorSpec
    steps: tuple[Step, ...] = field(default=())


def parse(data: object) -> Scenario:
    """The scenario that was written down.

    Raises:
        Miswritten: at the first place that is wrong.
    """
    top = mapping(data, (), ("supervisor", "steps"), needed=("supervisor",))
    reader = SpecReader(default_start=_TARGET, exact_by_default=True)
    supervisor = reader.supervisor(top["supervisor"], ("supervisor",))
    steps = sequence(top.get("steps"), ("steps",))
    script = _Steps(supervisor, reader)
    return Scenario(supervisor, tuple(script.step(s, ("steps", i)) for i, s in enumerate(steps)))


class _Steps:
    """Reads the steps of one supervisor's scenario."""

    def __init__(self, supervisor: SupervisorSpec, reader: SpecReader) -> None:
        self._supervisor = supervisor
        self._reader = reader

    def step(self, data: object, at: Place) -> Step:
        fields = mapping(data, at, _STEP)
        if "together" in fields:
            _only(fields, at, ("together",))
            return Together(self._several(fields["together"], (*at, "together")))
        if "wait" in fields:
            _only(fields, at, ("wait",))
            seconds = number(fields["wait"], (*at, "wait"))
            return Wait(seconds)
        return self._event(fields, at)

    def _several(self, data: object, at: Place) -> tuple[Event, ...]:
        steps: list[Event] = []
        for index, part in enumerate(sequence(data, at)):
            step = self.step(part, (*at, index))
            if isinstance(step, Wait | Together):
                raise Miswritten((*at, index), "misplaced_step", "cannot be together with others")
            steps.append(step)
        return tuple(steps)

    def _event(self, fields: Mapping[str, Any], at: Place) -> Event:
        if "exit" in fields:
            return self._exit(fields, at)
        if "spend" in fields or "grant" in fields:
            return self._money(fields, at)
        if "fail_start" in fields:
            _only(fields, at, ("fail_start", "times"))
            times = number(fields.get("times", 1), (*at, "times"), whole=True)
            return FailStart(child_id(fields["fail_start"], (*at, "fail_start")), int(times))
        return self._request(fields, at)

    def _exit(self, fields: Mapping[str, Any], at: Place) -> Exit:
        _only(fields, at, ("exit", "reason", "kind"))
        reason = fields.get("reason", "crash")
        if reason not in get_args(Reason):
            detail = f"must be one of {', '.join(get_args(Reason))}"
            raise Miswritten((*at, "reason"), "invalid_reason", detail)
        kind = fields.get("kind")
        if kind is not None and (not isinstance(kind, str) or not kind):
            raise Miswritten((*at, "kind"), "invalid_kind", "must be a word")
        return Exit(child_id(fields["exit"], (*at, "exit")), reason, kind)

    def _money(self, fields: Mapping[str, Any], at: Place) -> Spend | Allow:
        key = "spend" if "spend" in fields else "grant"
        _only(fields, at, (key, "amount"))
        if "amount" not in fields:
            raise Miswritten(at, "missing_key", "needs amount")
        amount = number(fields["amount"], (*at, "amount"))
        name = child_id(fields[key], (*at, key))
        return Spend(name, amount) if key == "spend" else Allow(name, amount)

    def _request(self, fields: Mapping[str, Any], at: Place) -> Ask:
        for key, op in _OPS.items():
            if key in fields:
                _only(fields, at, (key,))
                return Ask(op, child_id(fields[key], (*at, key)))
        if "start" not in fields:
            detail = "says nothing; it needs exit, fail_start, spend, grant, wait or a request"
            raise Miswritten(at, "no_step", detail)
        _only(fields, at, ("start",))
        spec = self._reader.child(fields["start"], (*at, "start"))
        check_child(self._supervisor, spec, (*at, "start"))
        return Ask(Op.START_CHILD, spec.id, spec)


def _only(fields: Mapping[str, Any], at: Place, together: tuple[str, ...]) -> None:
    for key in fields:
        if key not in together:
            raise Miswritten((*at, key), "misplaced_key", f"does not go with {together[0]}")
