from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy.actors.podman import containers_conf, podman_env
from understudy.actors.podman.containers_conf import conf_text, write_conf
from understudy.actors.podman.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

USUAL = Machine(
    rootless=False,
    pure_cgroup_v2=True,
    systemd=True,
    hard_nofile=1 << 20,
    hard_nproc=30_000,
    may_raise_limits=True,
    selinux=False,
)
BARE = replace(
    USUAL, pure_cgroup_v2=False, systemd=False, may_raise_limits=False, hard_nofile=20_000
)


def test_a_usual_machine_needs_no_file(tmp_path: Path) -> None:
    assert conf_text(USUAL) == ""
    assert conf_text(replace(USUAL, rootless=True, may_raise_limits=False)) == ""
    assert write_conf(tmp_path / "cache", USUAL) is None
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("machine", "wanted"),
    [
        (replace(USUAL, pure_cgroup_v2=False), {"engine": {"runtime": "runc"}}),
        (
            replace(USUAL, systemd=False),
            {"engine": {"cgroup_manager": "cgroupfs", "events_logger": "file"}},
        ),
        (
            replace(USUAL, may_raise_limits=False, hard_nofile=20_000, hard_nproc=99),
            {"containers": {"default_ulimits": ["nofile=20000:20000", "nproc=99:99"]}},
        ),
    ],
)
def test_each_lack_of_the_machine_gets_its_setting(
    machine: Machine, wanted: dict[str, dict[str, Any]]
) -> None:
    found = tomllib.loads(conf_text(machine))
    assert {name: table for name, table in found.items() if table} == wanted


def test_the_file_is_written_once_and_again_when_the_machine_changes(tmp_path: Path) -> None:
    path = write_conf(tmp_path / "cache", BARE)
    assert path is not None
    before = path.stat()
    assert write_conf(tmp_path / "cache", BARE) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    write_conf(tmp_path / "cache", replace(BARE, hard_nofile=10_000))
    assert "10000" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["containers.conf"]


def test_podman_is_pointed_at_the_file_and_gets_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conf_text_of_a_bare_machine(_machine: Machine) -> str:
        return "[engine]\n"

    monkeypatch.setattr(containers_conf, "conf_text", conf_text_of_a_bare_machine)
    env = podman_env(
        tmp_path,
        {
            "PATH": "/usr/bin",
            "ANTHROPIC_API_KEY": "secret",
            "ANTHROPIC_AUTH_TOKEN": "secret",
            "CLAUDE_CODE_OAUTH_TOKEN": "secret",
            "NOTIFY_SOCKET": "/run/systemd/notify",
            "CONTAINER_HOST": "ssh://elsewhere",
        },
    )
    assert env == {"PATH": "/usr/bin", "CONTAINERS_CONF": str(tmp_path / "containers.conf")}


def test_a_file_that_the_user_chose_is_kept(tmp_path: Path) -> None:
    env = podman_env(tmp_path, {"CONTAINERS_CONF": "/mine"})
    assert env == {"CONTAINERS_CONF": "/mine"}
    assert list(tmp_path.iterdir()) == []
