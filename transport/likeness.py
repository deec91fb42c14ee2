"""What pykka's proxies look at, for an actor that is not in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Subject(Protocol):
    """A ref."""

    def attributes(self) -> dict[tuple[str, ...], tuple[bool, bool]]:
        """The actor's public attributes: path, whether it can be called, whether traversed."""
        ...


class Likeness:
    """An object with the attributes of an actor, as far as pykka asks: their names and kinds.

    Args:
        subject: the actor's ref, which is asked each time pykka looks.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def __dir__(self) -> Iterable[str]:
        found: dict[str, Any] = {}
        for path, (is_callable, is_traversable) in sorted(self._subject.attributes().items()):
            place = found
            for name in path[:-1]:
                place = place[name].__dict__
            place[path[-1]] = (_Method if is_callable else _Attribute)(is_traversable)
        # At once: another thread may look at the same time.
        self.__dict__ = {"_subject": self._subject, **found}
        return list(found)

    def __eq__(self, other: object) -> bool:
        # A proxy that the ref made has the ref itself in this place.
        mine = self._subject
        return other is mine or (isinstance(other, Likeness) and other._subject is mine)

    def __hash__(self) -> int:
        return hash(self._subject)


class _Attribute:
    def __init__(self, is_traversable: bool) -> None:
        self._pykka_traversable = is_traversable


class _Method(_Attribute):
    def __call__(self) -> None:
        """Only seen to be callable."""
