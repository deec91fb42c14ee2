from __future__ import annotations

import inspect
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from understudy.actors import errors
from understudy.actors.errors import AgentError, PodmanError
from understudy.actors.podman import run_podman
from understudy.actors.podman.command import failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAMPLES: dict[str, tuple[Any, ...]] = {
    "AgentError": ("anything",),
    "MachineNotReady": ("no podman", "install it"),
    "FleetStopped": ("the fleet is stopping",),
    "UnknownAgent": ("agent_00", ("agent_000",)),
    "UnsafeDirectory": ("/tmp/understudy-0", "is not a folder"),
    "PodmanError": ("podman run x", 125, "Error: x", "mend it", "image_missing"),
    "ImageError": ("download", "no network", "check it"),
}

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, AgentError)
]


@pytest.mark.parametrize("error_class", CLASSES)
def test_every_agent_error_survives_pickle_with_its_fields_and_text(
    error_class: type[AgentError],
) -> None:
    error = error_class(*SAMPLES[error_class.__name__])
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(again), vars(again), str(again)) == (error_class, vars(error), str(error))
    assert all(str(sample) in str(error) for sample in SAMPLES[error_class.__name__][:1]) or (
        error_class.__name__ == "ImageError"
    )


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            'Error: creating container storage: the container name "x" is already in use by 1',
            "name_in_use",
        ),
        ("Error: localhost/nope:1: image not known", "image_missing"),
        ("Error: no such image", "image_missing"),
        ("Error: statfs /gone: no such file or directory", "mount_missing"),
        ("Error: invalid value for memory: invalid size: '2q'", "bad_option"),
        ("Error: unknown flag: --bogus", "bad_option"),
        ("Error: crun: cgroups in hybrid mode not supported, drop all", "runtime_refused"),
        ("runc create failed: error setting rlimit type 6: not permitted", "runtime_refused"),
        ("write /x: no space left on device", "disk_full"),
        ("Error: something new", "failed"),
    ],
)
def test_what_podman_says_is_given_a_kind(said: str, kind: str) -> None:
    error = failure(["podman", "run", "x"], 125, said + "\n")
    assert error.kind == kind
    assert error.stderr == said
    assert said in str(error)


@pytest.fixture
def podman_is(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    def make(body: str) -> dict[str, str]:
        program = tmp_path / "podman"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    return make


def test_output_and_exit_code_are_given_back_or_raised(
    podman_is: Callable[[str], dict[str, str]],
) -> None:
    env = podman_is("echo out; echo err >&2; exit 3")
    done = run_podman("ps", timeout_s=10, env=env, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    with pytest.raises(PodmanError, match=r"`podman ps` failed \(3\): err") as caught:
        run_podman("ps", timeout_s=10, env=env)
    assert caught.value.exit_code == 3


def test_a_podman_that_hangs_is_ended_after_its_time(
    podman_is: Callable[[str], dict[str, str]],
) -> None:
    with pytest.raises(PodmanError, match=r"no end after 0\.2 s") as caught:
        run_podman("ps", timeout_s=0.2, env=podman_is("exec sleep 60"))
    assert (caught.value.kind, caught.value.exit_code) == ("timeout", None)


def test_a_client_has_a_session_of_its_own(podman_is: Callable[[str], dict[str, str]]) -> None:
    done = run_podman("ps", timeout_s=10, env=podman_is("ps -o pid=,sid= -p $$"))
    pid, session = done.stdout.split()
    assert pid == session


def test_a_podman_that_is_not_there_or_not_runnable_is_told(tmp_path: Path) -> None:
    with pytest.raises(PodmanError, match="doctor --fix") as caught:
        run_podman("ps", timeout_s=1, env={"PATH": str(tmp_path)})
    assert caught.value.kind == "podman_missing"
    (tmp_path / "podman").write_text("no program")
    with pytest.raises(PodmanError, match="doctor --fix"):
        run_podman("ps", timeout_s=1, env={"PATH": str(tmp_path)})
