"""A supervisor from a YAML file: refused as a whole, with the line, when it cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .spec_reader import SpecReader
from .written import Miswritten
from .yaml_file import load

if TYPE_CHECKING:
    from collections.abc import Collection

    from .spec import SupervisorSpec
    from .written import Place


def load_spec(file: str, *, meters: Collection[str] | None = None) -> SupervisorSpec:
    """The supervisor that a file describes; nothing is started.

    Args:
        file: its name.
        meters: those that there are; a budget that names another is refused. None: any.

    Raises:
        InvalidFile: it cannot be read, or the supervisor cannot work; with reason and line.
    """

    def parse(data: object) -> SupervisorSpec:
        spec = SpecReader().supervisor(data, ())
        if meters is not None:
            _check_meters(spec, meters)
        return spec

    return load(file, parse)


def _check_meters(spec: SupervisorSpec, meters: Collection[str]) -> None:
    for index, child in enumerate(spec.children):
        if child.budget is not None and child.budget.meter not in meters:
            place: Place = ("children", index, "budget", "meter")
            detail = f"there is no meter {child.budget.meter}; known are {', '.join(meters)}"
            raise Miswritten(place, "no_meter", detail)
