"""What can go wrong in supervision, by whose fault it is. Every error survives pickle."""

from __future__ import annotations


class SupervisionError(Exception):
    """The root of all errors of this folder."""


class InvalidSpec(SupervisionError):
    """A child or supervisor is described wrongly: the caller's fault, nothing was started.

    Args:
        reason: one word, for code to branch on, as `invalid_target` or `duplicate_child`.
        where: which spec and field, as `child agent_000: shutdown_s`.
        detail: what is wrong with it, and what is right.
    """

    def __init__(self, reason: str, where: str, detail: str) -> None:
        super().__init__(reason, where, detail)
        self.reason = reason
        self.where = where
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.where}: {self.detail} ({self.reason})"


class DuplicateChild(SupervisionError):
    """A supervisor has a child of that id already."""

    def __init__(self, supervisor_id: str, child_id: str) -> None:
        super().__init__(supervisor_id, child_id)
        self.supervisor_id = supervisor_id
        self.child_id = child_id

    def __str__(self) -> str:
        return f"supervisor {self.supervisor_id} has a child {self.child_id!r} already"


class UnknownChild(SupervisionError):
    """A supervisor has no child of that id."""

    def __init__(self, supervisor_id: str, child_id: str, known: tuple[str, ...]) -> None:
        super().__init__(supervisor_id, child_id, known)
        self.supervisor_id = supervisor_id
        self.child_id = child_id
        self.known = known

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"supervisor {self.supervisor_id} has no child {self.child_id!r}; it has: {known}"


class SupervisorStopping(SupervisionError):
    """A supervisor that is shutting down takes no new children."""

    def __init__(self, supervisor_id: str) -> None:
        super().__init__(supervisor_id)
        self.supervisor_id = supervisor_id

    def __str__(self) -> str:
        return f"supervisor {self.supervisor_id} is shutting down and starts nothing any more"


class SpawnFailed(SupervisionError):
    """The fork server could not make a process this time; another try may succeed."""

    def __init__(self, child_id: str, why: str) -> None:
        super().__init__(child_id, why)
        self.child_id = child_id
        self.why = why

    def __str__(self) -> str:
        return f"no process for {self.child_id}: {self.why}"


class ForkServerBroken(SupervisionError):
    """The fork server cannot work as it is set up; trying again does not help."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the fork server cannot start: {self.why}"


class ForkServerClosed(SupervisionError):
    """The fork server was closed, or not started yet; it makes no processes."""

    def __init__(self) -> None:
        super().__init__()

    def __str__(self) -> str:
        return "the fork server is closed; call start() first, and spawn before close()"
