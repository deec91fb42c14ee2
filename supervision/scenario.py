"""A scripted life of a supervisor, as `understudy simulate` and its tests play it. Pure data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from .backoff import Backoff
from .errors import InvalidSpec, SupervisionError
from .signals import Op
from .spec import ChildSpec, SupervisorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

Reason = Literal["crash", "normal", "shutdown", "killed"]

_TARGET = "understudy.supervision.simulate:nothing"
_SUPERVISOR = ("strategy", "intensity", "period", "auto_shutdown", "backoff", "children")
_BACKOFF = {
    "min": "min_s",
    "max": "max_s",
    "factor": "factor",
    "jitter": "jitter",
    "reset_after": "reset_after_s",
}
_STEP = (
    *("exit", "reason", "fail_start", "times", "terminate", "restart", "delete", "start"),
    *("wait", "together"),
)
_OPS = {"terminate": Op.TERMINATE, "restart": Op.RESTART, "delete": Op.DELETE}


class InvalidScenario(SupervisionError):
    """A scenario is written wrongly.

    Args:
        path: keys and indices from the top to the place, as `("steps", 2, "reason")`.
        detail: what is wrong there, and what is right.
    """

    exit_code_of_command = 2

    def __init__(self, path: tuple[str | int, ...], detail: str) -> None:
        super().__init__(path, detail)
        self.path = path
        self.detail = detail

    def __str__(self) -> str:
        return f"{describe(self.path)}: {self.detail}"


@dataclass(frozen=True)
class Exit:
    """A child ends by itself."""

    child_id: str
    reason: Reason = "crash"


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
class Wait:
    """Time passes."""

    seconds: float


@dataclass(frozen=True)
class Together:
    """All of these happen before the supervisor looks; it takes them in this order."""

    steps: tuple[Exit | FailStart | Ask, ...]


Step = Exit | FailStart | Ask | Wait | Together


@dataclass(frozen=True)
class Scenario:
    """What is supervised, and what happens to it."""

    supervisor: SupervisorSpec
    steps: tuple[Step, ...] = field(default=())


def describe(path: tuple[str | int, ...]) -> str:
    """A place in a scenario, for people: steps and children are counted from 1."""
    words = [str(part + 1) if isinstance(part, int) else part for part in path]
    return " ".join(words).replace("steps ", "step ").replace("children ", "child ") or "scenario"


def parse(data: object) -> Scenario:
    """The scenario that was written down.

    Raises:
        InvalidScenario: at the first place that is wrong.
    """
    top = _mapping(data, (), ("supervisor", "steps"), needed=("supervisor",))
    supervisor = _supervisor(top["supervisor"])
    steps = _list(top.get("steps"), ("steps",))
    reader = _Steps(supervisor)
    return Scenario(supervisor, tuple(reader.step(s, ("steps", i)) for i, s in enumerate(steps)))


def _supervisor(data: object) -> SupervisorSpec:
    at = ("supervisor",)
    fields = _mapping(data, at, _SUPERVISOR)
    backoff = _backoff(fields.get("backoff"), (*at, "backoff"))
    children = tuple(
        _child(child, (*at, "children", number), backoff)
        for number, child in enumerate(_list(fields.get("children"), (*at, "children")))
    )
    named = {"strategy": "strategy", "auto_shutdown": "auto_shutdown"}
    numbers = {"intensity": "intensity", "period": "period_s"}
    given: dict[str, Any] = {ours: fields[key] for key, ours in named.items() if key in fields}
    for key, ours in numbers.items():
        if key in fields:
            given[ours] = _number(fields[key], (*at, key), whole=key == "intensity")
    try:
        return SupervisorSpec("supervisor", children=children, exact=backoff is None, **given)
    except InvalidSpec as error:
        raise _refused(error, at) from error


def _backoff(data: object, at: tuple[str | int, ...]) -> Backoff | None:
    if data is None or data is False:
        return None
    if data is True:
        return Backoff()
    fields = _mapping(data, at, tuple(_BACKOFF))
    given = {_BACKOFF[key]: _number(value, (*at, key)) for key, value in fields.items()}
    try:
        return Backoff(**given)
    except InvalidSpec as error:
        raise _refused(error, at) from error


def _child(data: object, at: tuple[str | int, ...], backoff: Backoff | None) -> ChildSpec:
    fields = _mapping(data, at, ("id", "restart", "significant"), needed=("id",))
    name = _name(fields["id"], (*at, "id"))
    rules = {key: fields[key] for key in ("restart", "significant") if key in fields}
    try:
        return ChildSpec(name, _TARGET, backoff=backoff, **rules)
    except InvalidSpec as error:
        raise _refused(error, at) from error


class _Steps:
    """Reads the steps of one supervisor's scenario."""

    def __init__(self, supervisor: SupervisorSpec) -> None:
        self._supervisor = supervisor
        self._backoff = next((c.backoff for c in supervisor.children), None)

    def step(self, data: object, at: tuple[str | int, ...]) -> Step:
        fields = _mapping(data, at, _STEP)
        if "together" in fields:
            _only(fields, at, ("together",))
            return Together(self._several(fields["together"], (*at, "together")))
        if "wait" in fields:
            _only(fields, at, ("wait",))
            seconds = _number(fields["wait"], (*at, "wait"))
            return Wait(seconds)
        return self._event(fields, at)

    def _several(
        self, data: object, at: tuple[str | int, ...]
    ) -> tuple[Exit | FailStart | Ask, ...]:
        steps: list[Exit | FailStart | Ask] = []
        for number, part in enumerate(_list(data, at)):
            step = self.step(part, (*at, number))
            if isinstance(step, Wait | Together):
                raise InvalidScenario((*at, number), "cannot be together with others")
            steps.append(step)
        return tuple(steps)

    def _event(
        self, fields: Mapping[str, Any], at: tuple[str | int, ...]
    ) -> Exit | FailStart | Ask:
        if "exit" in fields:
            _only(fields, at, ("exit", "reason"))
            reason = fields.get("reason", "crash")
            if reason not in get_args(Reason):
                detail = f"must be one of {', '.join(get_args(Reason))}"
                raise InvalidScenario((*at, "reason"), detail)
            return Exit(_name(fields["exit"], (*at, "exit")), reason)
        if "fail_start" in fields:
            _only(fields, at, ("fail_start", "times"))
            times = _number(fields.get("times", 1), (*at, "times"), whole=True)
            return FailStart(_name(fields["fail_start"], (*at, "fail_start")), int(times))
        return self._request(fields, at)

    def _request(self, fields: Mapping[str, Any], at: tuple[str | int, ...]) -> Ask:
        for key, op in _OPS.items():
            if key in fields:
                _only(fields, at, (key,))
                return Ask(op, _name(fields[key], (*at, key)))
        if "start" not in fields:
            raise InvalidScenario(at, "says nothing; it needs exit, fail_start, wait or a request")
        _only(fields, at, ("start",))
        spec = _child(fields["start"], (*at, "start"), self._backoff)
        try:
            self._supervisor.check_child(spec)
        except InvalidSpec as error:
            raise InvalidScenario((*at, "start"), error.detail) from error
        return Ask(Op.START_CHILD, spec.id, spec)


def _refused(error: InvalidSpec, at: tuple[str | int, ...]) -> InvalidScenario:
    """What a spec says of its field, in the words of the file."""
    field_name = error.where.rpartition(": ")[2]
    written = {"period_s": "period", **{ours: key for key, ours in _BACKOFF.items()}}
    return InvalidScenario((*at, written.get(field_name, field_name)), error.detail)


def _mapping(
    data: object,
    at: tuple[str | int, ...],
    known: tuple[str, ...],
    *,
    needed: tuple[str, ...] = (),
) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InvalidScenario(at, f"must be a mapping with {', '.join(known)}")
    fields = cast("dict[str, Any]", data)
    for key in fields:
        if key not in known:
            raise InvalidScenario((*at, str(key)), f"is not known; known are {', '.join(known)}")
    for key in needed:
        if key not in fields:
            raise InvalidScenario(at, f"needs {key}")
    return fields


def _only(fields: Mapping[str, Any], at: tuple[str | int, ...], together: tuple[str, ...]) -> None:
    for key in fields:
        if key not in together:
            raise InvalidScenario((*at, key), f"does not go with {together[0]}")


def _list(data: object, at: tuple[str | int, ...]) -> list[object]:
    if data is None:
        return []
    if not isinstance(data, list):
        raise InvalidScenario(at, "must be a list")
    return cast("list[object]", data)


def _name(data: object, at: tuple[str | int, ...]) -> str:
    if isinstance(data, bool) or not isinstance(data, str | int) or data == "":
        raise InvalidScenario(at, "must be the id of a child")
    return str(data)


def _number(data: object, at: tuple[str | int, ...], *, whole: bool = False) -> Any:  # noqa: ANN401
    kinds = int if whole else int | float
    if isinstance(data, bool) or not isinstance(data, kinds) or not 0 <= data < math.inf:
        raise InvalidScenario(at, f"must be a {'whole ' if whole else ''}number, 0 or more")
    return data
