"""Each promise broken on purpose, in a real container: the audit sees it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.podman import Container, ContainerSpec
from understudy.actors.podman import container as container_module
from understudy.actors.podman.argv import run_argv
from understudy.actors.podman.audit import Finding, exit_code
from understudy.actors.podman.auditor import NotAuditable, audit_container

pytestmark = pytest.mark.podman

CANARY = "sk-canary-0123456789abcdef"

Audit = Callable[..., list[Finding]]
StartWith = Callable[..., Container]


@pytest.fixture
def audit(podman_environment: dict[str, str]) -> Audit:
    def look(container: Container, *secrets: str) -> list[Finding]:
        return audit_container(container.spec.name, env=podman_environment, secrets=secrets)

    return look


@pytest.fixture
def start_with(start: Callable[..., Container], monkeypatch: pytest.MonkeyPatch) -> StartWith:
    """Start a container whose command line is changed behind the promise's back."""

    def start_changed(without: tuple[str, ...], added: tuple[str, ...] = ()) -> Container:
        def changed(spec: ContainerSpec, **how: Any) -> list[str]:  # noqa: ANN401
            argv = run_argv(spec, **how)
            for flag in without:
                assert any(word.startswith(flag) for word in argv), flag
            kept = [word for word in argv if not word.startswith(without)]
            return [*kept[:2], *added, *kept[2:]]

        monkeypatch.setattr(container_module, "run_argv", changed)
        return start("cat")

    return start_changed


def differing(findings: list[Finding]) -> set[str]:
    assert "unknown" not in {finding.verdict for finding in findings}
    return {finding.what for finding in findings if finding.verdict == "DIFFERS"}


@pytest.mark.parametrize("image", ["agent_image", "old_agent_image"])
def test_a_container_as_agents_get_it_is_as_promised(
    image: str, start: Callable[..., Container], audit: Audit, request: pytest.FixtureRequest
) -> None:
    container = start("cat", image=request.getfixturevalue(image), env={"A": "b"})
    findings = audit(container, CANARY)
    assert [finding for finding in findings if finding.verdict != "ok"] == []
    assert exit_code(findings) == 0
    canary = next(finding for finding in findings if finding.what == "canary")
    read_mb = int(canary.found.split()[-2])
    assert read_mb > 100  # it did look: the image alone is larger


@dataclass(frozen=True)
class Broken:
    """Flags left out and added, and the lines of the audit that must tell it."""

    without: tuple[str, ...]
    added: tuple[str, ...]
    lines: set[str]


# Those that have nothing to do with each other share a container.
BROKEN = [
    Broken((), ("--mount=type=bind,source=/etc,target=/mnt,ro",), {"other mounts"}),
    Broken(
        ("--read-only", "--security-opt=no-new"),
        ("--mount=type=tmpfs,destination=/var/tmp", "--cap-add=NET_RAW"),
        {"other mounts", "writable", "capabilities", "new privileges"},
    ),
    Broken(
        ("--security-opt=seccomp", "--tmpfs"),
        ("--security-opt=seccomp=unconfined", "--tmpfs=/tmp:rw,mode=1777"),
        {"seccomp", "system calls", "writable"},
    ),
    # Podman's own list is in its place.
    Broken(("--security-opt=seccomp",), ("--group-add=20",), {"system calls", "user"}),
    Broken(("--user",), ("--user=0:0",), {"user"}),
    # Podman mounts the machine's resolv.conf along with its network.
    Broken(("--network",), ("--network=host",), {"network", "namespaces", "other mounts"}),
    Broken(("--cgroupns",), ("--cgroupns=host",), {"namespaces"}),
    Broken(
        (),
        ("--security-opt=unmask=ALL", "--device=/dev/null:/dev/extra"),
        {"/proc and /sys", "devices"},
    ),
    Broken(
        ("--memory", "--pids-limit", "--cpus", "--ulimit=core"),
        ("--memory=512m", "--pids-limit=-1"),
        {f"limit of {name}" for name in ("memory", "swap", "pids", "cpu", "core")},
    ),
    Broken((), ("--env=MY_TOKEN=abc",), {"environment", "secrets in the environment"}),
    Broken((), (f"--env=HARMLESS={CANARY}",), {"environment", "canary"}),
    Broken((), (f"--label=note={CANARY}",), {"canary"}),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: ",".join(sorted(broken.lines)))
def test_a_broken_promise_is_told_and_nothing_else_is_accused(
    broken: Broken, start_with: StartWith, audit: Audit
) -> None:
    secrets = (CANARY,) if CANARY in str(broken.added) else ()
    findings = audit(start_with(broken.without, broken.added), *secrets)
    assert differing(findings) == broken.lines
    assert exit_code(findings) == 1
    assert CANARY not in str(findings)


def test_the_secret_in_a_file_and_a_foreign_socket_are_found_and_links_are_not_followed(
    start: Callable[..., Container], audit: Audit, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text(CANARY)
    container = start("cat")
    work, sockets = container.spec.work_dir, container.spec.socket_dir
    assert sockets is not None
    (work / "link").symlink_to(outside)
    with (work / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    assert differing(audit(container, CANARY)) == set()
    (work / "deep").mkdir()
    (work / "deep" / "file").write_text("x" * ((1 << 20) - 5) + CANARY)  # over the edge of a chunk
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as other:
        server.bind(str(work / "foreign.sock"))
        other.bind(str(sockets / "other.sock"))
        findings = audit(container, CANARY)
    assert differing(findings) == {"canary", "sockets"}
    shown = {finding.what: finding.found for finding in findings}
    assert shown["canary"] == "found in /work/deep/file"
    assert shown["sockets"] == "/run/agent/other.sock; /work/foreign.sock"


def test_another_command_than_the_promised_is_told(
    start: Callable[..., Container], monkeypatch: pytest.MonkeyPatch, audit: Audit
) -> None:
    def changed(spec: ContainerSpec, **how: Any) -> list[str]:  # noqa: ANN401
        return [*run_argv(spec, **how), "--dangerous"]

    monkeypatch.setattr(container_module, "run_argv", changed)
    assert differing(audit(start("sh", "-c", "exec cat"))) == {"command"}


def test_a_container_that_ended_or_carries_no_promise_cannot_be_looked_at(
    start_with: StartWith, audit: Audit
) -> None:
    nameless = start_with(("--label=understudy.promise",))
    with pytest.raises(NotAuditable, match="no promise"):
        audit(nameless)
    nameless.kill()
    assert nameless.wait(5.0)
    with pytest.raises(NotAuditable):
        audit(nameless)
