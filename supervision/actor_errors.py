"""What can go wrong around actors that a system starts and watches."""

from __future__ import annotations

from .errors import SupervisionError


class InvalidActor(SupervisionError):
    """An actor that cannot be started as asked; nothing was started."""

    def __init__(self, actor_class: str, detail: str) -> None:
        super().__init__(actor_class, detail)
        self.actor_class = actor_class
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.actor_class} cannot be spawned: {self.detail}"


class ActorStartFailed(SupervisionError):
    """An actor was started and did not become ready; nothing of it is left."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, detail)
        self.name = name
        self.detail = detail

    def __str__(self) -> str:
        return f"actor {self.name} did not start: {self.detail}"


class NameTaken(SupervisionError):
    """A living actor of the system has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"there is an actor {self.name!r} already; stop it first, or choose another name"


class UnknownActor(SupervisionError):
    """No living actor of the system has that name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"there is no actor {self.name!r}; there are: {known}"


class SystemClosed(SupervisionError):
    """The actor system was closed, or its root process is gone."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the actor system {self.name} is closed"


class LinkBroken(SupervisionError):
    """An actor ends because one that it is linked to did not end well."""

    def __init__(self, other: str, reason: str, detail: str) -> None:
        super().__init__(other, reason, detail)
        self.other = other
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"linked to {self.other}, which ended ({self.reason}): {self.detail}"
