"""Having podman remove containers, however often it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import failure, run_podman

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMEOUT_S = 30.0
_REMOVE_ATTEMPTS = 3


def remove_containers(names: Sequence[str], env: Mapping[str, str]) -> None:
    """Kill and remove these containers; those that are gone already are no error.

    Raises:
        PodmanError: podman failed, and one of them is still there.
    """
    if not names:
        return
    args = ("rm", "--force", "--ignore", "--time=0", *names)
    for attempt in range(1, _REMOVE_ATTEMPTS + 1):
        done = run_podman(*args, timeout_s=_TIMEOUT_S, env=env, check=False)
        # Podman's own removal (--rm) may come between its look and its grip, or be half done when
        # we look ("container state improper: stopped"): only what is left in the end counts.
        if not done.returncode or not any(container_exists(name, env) for name in names):
            return
        if attempt == _REMOVE_ATTEMPTS:
            raise failure(("podman", *args), done.returncode, done.stderr)


def container_exists(name: str, env: Mapping[str, str], *, options: Sequence[str] = ()) -> bool:
    """Whether podman has a container of that name or id, running or not.

    Args:
        name: a container's name or id.
        env: environment of podman.
        options: podman's global options, such as those that choose its store.

    Raises:
        PodmanError: podman failed.
    """
    args = (*options, "container", "exists", name)
    done = run_podman(*args, timeout_s=_TIMEOUT_S, env=env, check=False)
    if done.returncode > 1:
        raise failure(("podman", *args), done.returncode, done.stderr)
    return done.returncode == 0
