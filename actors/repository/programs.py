"""A repository's own configuration can name programs that git runs; the user's may, it may not."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from ..untrusted_tree import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GIT_TIMEOUT_S = 60.0
_OWN = ("local", "worktree")
# What stands in a setting's place where the user's own configuration says nothing about it: git's
# default, or what does nothing. A driver of merges without a command would be taken for success.
_INSTEAD = tuple(
    (re.compile(pattern), value)
    for pattern, value in (
        (r"filter\..*\.(clean|smudge|process)", ""),
        (r"filter\..*\.required", "false"),
        (r"merge\..*\.driver", "git merge-file -q --marker-size=%L %A %O %B"),
        (r"gpg\.(openpgp\.)?program", "gpg"),
        (r"gpg\.x509\.program", "gpgsm"),
        (r"gpg\.ssh\.program", "ssh-keygen"),
        (r"gpg\.ssh\.defaultkeycommand", ""),
        # A submodule has a configuration of its own.
        (r"submodule\.recurse", "false"),
    )
)
# No object is fetched, so no transport, helper or prompt is used.
_OFFLINE = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}


def without_programs_of(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The environment in which git runs no program that the folder's repository names.

    What the user's or the machine's configuration names is run as ever.

    Args:
        folder: in the repository.
        env: without variables of git.

    Raises:
        WorkspaceError: git cannot be run.
    """
    instead = _replaced(_settings(folder, env))
    # Not `-c key=value`: a name in a key may hold a "=".
    added = {"GIT_CONFIG_COUNT": str(len(instead))}
    for number, (key, value) in enumerate(instead.items()):
        added |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**env, **_OFFLINE, **added}


def _replaced(settings: list[tuple[str, str, str]]) -> dict[str, str]:
    own = {key for scope, key, _ in settings if scope in _OWN}
    others = {key: value for scope, key, value in settings if scope not in _OWN}
    return {
        key: others.get(key, value)
        for key in own
        for pattern, value in _INSTEAD
        if pattern.fullmatch(key)
    }


def _settings(folder: Path, env: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """All settings that git sees there: where each is from, its key, its value."""
    command = ["git", "config", "--list", "--show-scope", "--includes", "-z"]
    try:
        done = subprocess.run(
            command, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL,
            capture_output=True, timeout=_GIT_TIMEOUT_S, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        mend = "look at the repository's configuration, or install git"
        raise WorkspaceError("git", f"its settings cannot be read: {error}", mend) from error
    parts = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    return [
        (scope, *_key_and_value(setting))
        for scope, setting in zip(parts[0::2], parts[1::2], strict=False)
    ]


def _key_and_value(setting: str) -> tuple[str, str]:
    key, _, value = setting.partition("\n")
    return key, value
