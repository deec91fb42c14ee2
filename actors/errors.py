"""What can go wrong around agents. Each folder below adds its own errors, all under `AgentError`.

Every error keeps its fields and survives pickling: the constructor's arguments are `args`.
"""

from __future__ import annotations

import difflib


class AgentError(Exception):
    """Root of all errors of this folder."""


class MachineNotReady(AgentError):
    """The machine lacks something that a fleet cannot do without.

    Attributes:
        reason: what is missing or wrong.
        mend: what the user can do about it.
    """

    def __init__(self, reason: str, mend: str = "run `understudy doctor`") -> None:
        super().__init__(reason, mend)
        self.reason = reason
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.reason}; {self.mend}"


class FleetStopped(AgentError):
    """Nothing more is taken: the fleet is stopping, has stopped, or cannot work any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class UnknownAgent(AgentError):
    """The fleet has no actor of that name."""

    exit_code_of_command = 2

    def __init__(self, wanted: str, known: tuple[str, ...]) -> None:
        super().__init__(wanted, known)
        self.wanted = wanted
        self.known = known

    def __str__(self) -> str:
        near = difflib.get_close_matches(self.wanted, self.known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(self.known)}"
        return f"there is no {self.wanted!r} here; {hint}"


class UnsafeDirectory(AgentError):
    """A folder for sockets belongs to somebody else, or others may write to it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}; remove it, or set storage.run_dir to another folder"


class PodmanError(AgentError):
    """A podman command failed, or podman cannot be run at all.

    Attributes:
        command: the command as text, shortened.
        exit_code: podman's, or None when it did not run to its end.
        stderr: the end of what it said.
        hint: what to do about it, or "".
        kind: one word to branch on; the words stand in `podman/command.py`.
    """

    def __init__(
        self,
        command: str,
        exit_code: int | None,
        stderr: str,
        hint: str = "",
        kind: str = "failed",
    ) -> None:
        super().__init__(command, exit_code, stderr, hint, kind)
        self.command = command
        self.exit_code = exit_code
        self.stderr = stderr
        self.hint = hint
        self.kind = kind

    @property
    def is_missing_image(self) -> bool:
        """Whether the image is not on this machine: no restart mends that."""
        return self.kind == "image_missing"

    @property
    def is_permanent(self) -> bool:
        """Whether trying again is useless until the machine or the configuration is changed."""
        return self.kind in {"image_missing", "podman_missing", "bad_option", "runtime_refused"}

    def __str__(self) -> str:
        ended = "did not end" if self.exit_code is None else f"failed ({self.exit_code})"
        said = f": {self.stderr}" if self.stderr else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"`{self.command}` {ended}{said}{hint}"


# What `understudy image build` exits with, by kind.
_IMAGE_EXIT_CODES = {
    "missing_tool": 3,
    "unsupported_machine": 3,
    "busy": 3,
    "download": 4,
    "no_such_version": 4,
    "build": 5,
    "smoke": 6,
}


class ImageError(AgentError):
    """The agent image could not be made.

    Attributes:
        kind: missing_tool, unsupported_machine, busy, download, no_such_version, build or smoke.
        detail: what happened.
        mend: what the user can do about it, or "".
    """

    def __init__(self, kind: str, detail: str, mend: str = "") -> None:
        super().__init__(kind, detail, mend)
        self.kind = kind
        self.detail = detail
        self.mend = mend

    @property
    def exit_code(self) -> int:
        """The exit code for a command that ends with this error."""
        return _IMAGE_EXIT_CODES.get(self.kind, 1)

    def __str__(self) -> str:
        return f"{self.detail}; {self.mend}" if self.mend else self.detail
