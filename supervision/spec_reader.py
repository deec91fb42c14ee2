"""Supervisors and children as people write them down, as the specs of this folder. Pure."""

from __future__ import annotations

from typing import Any, cast

from .backoff import Backoff
from .budget import Budget
from .spec import ChildSpec, SupervisorSpec
from .written import Miswritten, Place, child_id, made, mapping, number, sequence

# What is written, and the field it is for; units are seconds.
_SUPERVISOR = {
    "id": "id",
    "strategy": "strategy",
    "intensity": "intensity",
    "period": "period_s",
    "auto_shutdown": "auto_shutdown",
    "exact": "exact",
    "uncounted_kinds": "uncounted_kinds",
    "permanent_kinds": "permanent_kinds",
    "backoff": "",
    "children": "children",
}
_CHILD = {
    "id": "id",
    "start": "target",
    "args": "args",
    "restart": "restart",
    "significant": "significant",
    "shutdown": "shutdown_s",
    "start_timeout": "start_timeout_s",
    "backoff": "backoff",
    "budget": "budget",
    "liveness_interval": "liveness_interval_s",
    "env": "env",
    "log_path": "log_path",
}
_BACKOFF = {
    "min": "min_s",
    "max": "max_s",
    "factor": "factor",
    "jitter": "jitter",
    "reset_after": "reset_after_s",
}
_OTP_DEFAULTS: dict[str, Any] = {"intensity": 1, "period_s": 5.0}
_BUDGET = ("unit", "limit", "meter", "warn_at", "start_cost")
_SHUTDOWN = {"brutal": 0, "infinity": None}


class SpecReader:
    """Reads one supervisor and its children, those of its scenario's steps too.

    Args:
        default_start: the `start` of a child that names none; None: each must name one.
        exact_by_default: whether a supervisor with nothing that OTP has not is `exact`; one that is
            then also has OTP's defaults.
    """

    def __init__(self, *, default_start: str | None = None, exact_by_default: bool = False) -> None:
        self._default_start = default_start
        self._exact_by_default = exact_by_default
        self._backoff: Backoff | None = None

    def supervisor(self, data: object, at: Place) -> SupervisorSpec:
        """A supervisor.

        Raises:
            Miswritten: at the first place that is wrong.
        """
        fields = mapping(data, at, _SUPERVISOR)
        self._backoff = _backoff(fields.get("backoff"), (*at, "backoff"))
        written = sequence(fields.get("children"), (*at, "children"))
        children = [self.child(c, (*at, "children", n)) for n, c in enumerate(written)]
        given = self._fields(fields, at)
        extras = any(c.backoff or c.budget for c in children) or self._backoff is not None
        if self._exact_by_default and not (extras or given.keys() & {"uncounted_kinds"}):
            given.setdefault("exact", not given.get("permanent_kinds"))
        if self._exact_by_default and given.get("exact"):
            given = _OTP_DEFAULTS | given
        keys = {field: key for key, field in _SUPERVISOR.items()}
        spec = made(lambda: SupervisorSpec(**given), at, keys)
        _check_children(spec, children, at)
        return made(lambda: SupervisorSpec(**given, children=tuple(children)), at, keys)

    @staticmethod
    def _fields(fields: dict[str, Any], at: Place) -> dict[str, Any]:
        given: dict[str, Any] = {"id": "supervisor"}
        for key, value in fields.items():
            field = _SUPERVISOR[key]
            match key:
                case "children" | "backoff":
                    pass
                case "intensity" | "period":
                    given[field] = number(value, (*at, key), whole=key == "intensity")
                case "uncounted_kinds" | "permanent_kinds":
                    given[field] = _words(value, (*at, key))
                case "id":
                    given[field] = child_id(value, (*at, key))
                case "exact" if not isinstance(value, bool):
                    raise Miswritten((*at, key), "invalid_exact", "must be true or false")
                case _:
                    given[field] = value
        return given

    def child(self, data: object, at: Place) -> ChildSpec:
        """A child.

        Raises:
            Miswritten: at the first place that is wrong.
        """
        needed = ("id",) if self._default_start else ("id", "start")
        fields = mapping(data, at, _CHILD, needed=needed)
        given: dict[str, Any] = {"target": self._default_start, "backoff": self._backoff}
        for key, value in fields.items():
            given[_CHILD[key]] = _child_field(key, value, (*at, key))
        return made(lambda: ChildSpec(**given), at, {f: k for k, f in _CHILD.items()})


def _check_children(spec: SupervisorSpec, children: list[ChildSpec], at: Place) -> None:
    seen: set[str] = set()
    for index, child in enumerate(children):
        place = (*at, "children", index)
        if child.id in seen:
            detail = f"more than one is named {child.id}"
            raise Miswritten((*place, "id"), "duplicate_child", detail)
        seen.add(child.id)
        check_child(spec, child, place)


def check_child(spec: SupervisorSpec, child: ChildSpec, at: Place) -> None:
    """Whether the supervisor can have that child.

    Raises:
        Miswritten: at the child, saying which of the supervisor's rules it does not fit to.
    """
    own = {"auto_shutdown": "significant", "uncounted_kinds": "backoff"}
    try:
        made(lambda: spec.check_child(child), at, own)
    except Miswritten as error:
        rule = str(error.__cause__).partition(": ")[2].partition(":")[0]
        detail = f"{rule} of the supervisor: {error.detail}"
        raise Miswritten(error.place, error.reason, detail) from error


def _child_field(key: str, value: Any, at: Place) -> Any:  # noqa: ANN401 - what was written
    match key:
        case "id":
            return child_id(value, at)
        case "start" | "log_path" if not isinstance(value, str):
            raise Miswritten(at, f"invalid_{key}", "must be a text")
        case "args" | "env":
            return _named(value, at)
        case "shutdown" if isinstance(value, str) and value in _SHUTDOWN:
            return _SHUTDOWN[value]
        case "shutdown" | "start_timeout" | "liveness_interval":
            return number(value, at)
        case "backoff" | "budget":
            return _backoff(value, at) if key == "backoff" else _budget(value, at)
        case _:
            return value


def _backoff(data: object, at: Place) -> Backoff | None:
    if data is None or data is False:
        return None
    if data is True:
        return Backoff()
    fields = mapping(data, at, _BACKOFF)
    given = {_BACKOFF[key]: number(value, (*at, key)) for key, value in fields.items()}
    return made(lambda: Backoff(**given), at, {field: key for key, field in _BACKOFF.items()})


def _budget(data: object, at: Place) -> Budget:
    fields = mapping(data, at, _BUDGET, needed=("unit", "limit"))
    words = {key: fields[key] for key in ("unit", "meter") if key in fields}
    for key, value in words.items():
        if not isinstance(value, str):
            raise Miswritten((*at, key), f"invalid_{key}", "must be a word")
    numbers = {key: number(v, (*at, key)) for key, v in fields.items() if key not in words}
    return made(lambda: Budget(**words, **numbers), at, {})


def _words(data: object, at: Place) -> frozenset[str]:
    words = sequence(data, at)
    for index, word in enumerate(words):
        if not isinstance(word, str) or not word:
            raise Miswritten((*at, index), "invalid_kind", "must be a word")
    return frozenset(str(word) for word in words)


def _named(data: object, at: Place) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Miswritten(at, "not_a_mapping", "must be a mapping")
    return {str(name): value for name, value in cast("dict[object, Any]", data).items()}
