"""What `spawn` was told, checked where it was said and before a name is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pykka

from .actor_errors import InvalidActor
from .backoff import Backoff
from .loading import describe_class
from .spec import ChildSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBERS = {"start_timeout_s": False, "shutdown_s": True, "liveness_interval_s": True}
"""The options that are seconds, and whether they may be None."""


def check_class(actor_class: object) -> None:
    """See that it is the class of an actor.

    Raises:
        InvalidActor: it is not.
    """
    if not isinstance(actor_class, type):
        detail = f"a class is wanted, not {type(actor_class).__name__}"
        raise InvalidActor(repr(actor_class), detail)
    kind = cast("type[object]", actor_class)
    if not issubclass(kind, pykka.ThreadingActor):
        raise InvalidActor(describe_class(kind), "it is no pykka.ThreadingActor")


def check_options(actor_class: type, options: Mapping[str, Any]) -> None:
    """See that the options of `SystemMember.spawn` make sense.

    Raises:
        InvalidActor: one is of another type than it says.
        InvalidSpec: a value makes no sense.
    """
    path = describe_class(actor_class)
    for name, may_be_none in _NUMBERS.items():
        value = options[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number and not (may_be_none and value is None):
            wanted = "seconds, or None" if may_be_none else "seconds"
            raise InvalidActor(path, f"{name} must be {wanted}, not {value!r}")
    backoff = options["backoff"]
    if backoff is not None and not isinstance(backoff, Backoff):
        raise InvalidActor(path, f"backoff must be a Backoff, or None, not {backoff!r}")
    ChildSpec(actor_class.__name__, "understudy.supervision.actor_host:main", {}, **options)
