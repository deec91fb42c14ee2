from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run"], "say what to do"),
        (["run", "x", "--type", "code_reveiw", "--fake"], "code_review"),
        (["run", "x", "--priority", "11", "--fake"], "priority"),
        (["run", "x", "--timeout", "0", "--fake"], "timeout"),
        (["run", "x", "--set", "num_agents", "--fake"], "KEY=VALUE"),
        (["run", "x", "--set", "orchestrator.num_agnets=2", "--fake"], "num_agents"),
        (["run", "x", "--set", "orchestrator.num_agents=many", "--fake"], "whole number"),
        (["run", "x", "--agents", "0", "--fake"], "num_agents"),
        (["rnu"], "run"),
        (["result", "no-such-task"], "no-such-task"),
        (["logs", "no-such-task"], "no-such-task"),
        (["run", "x", "--config", "missing.yaml"], "missing.yaml"),
    ],
)
def test_wrong_usage_is_told_in_one_message(program: Program, args: list[str], says: str) -> None:
    done = program.run(*args)
    assert done.code == 2, done.err
    assert says in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("orchestrator:\n  num_agnets: 3\n", ["bad.yaml:2", "num_agnets", "num_agents"]),
        ("orchestrator:\n  num_agents: three\n", ["bad.yaml:2", "num_agents"]),
        ("orchestrator:\n  num_agents: 0\n", ["bad.yaml:2", "num_agents"]),
        ("agent:\n  model: a\n  model: b\n", ["bad.yaml:3", "model"]),
        ("agents:\n  model: a\n", ["bad.yaml:1", "agents", "agent"]),
        ("orchestrator: [1\n", ["bad.yaml:"]),
        ("- a\n", ["bad.yaml"]),
    ],
)
def test_a_wrong_configuration_is_told_with_file_line_and_key(
    program: Program, tmp_path: Path, text: str, says: list[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    done = program.run("run", "x", "--fake", "--config", str(file))
    assert done.code == 2
    for part in says:
        assert part in done.err
    assert len(done.err.strip().splitlines()) <= 2


def test_with_json_an_error_is_the_one_object(program: Program) -> None:
    done = program.run("run", "x", "--priority", "11", "--fake", "--json")
    assert done.code == 2
    assert done.json["exit_code"] == 2
    assert "priority" in done.json["error"]


def test_without_a_key_the_machine_is_not_ready_and_the_mend_is_named(program: Program) -> None:
    done = program.run("run", "x")
    assert done.code == 3
    assert "ANTHROPIC_API_KEY" in done.err
    assert "--fake" in done.err


def test_without_the_image_the_mend_is_named(program: Program) -> None:
    done = program.run("run", "x", "--fake", "--set", "agent.image=localhost/none:1")
    assert done.code == 3
    assert "localhost/none:1" in done.err
    assert "image build" in done.err


def test_an_image_without_the_cli_is_told(program: Program, plain_image: str) -> None:
    done = program.run("run", "x", "--fake", "--set", f"agent.image={plain_image}", "--json")
    assert done.code != 0
    assert "claude" in done.err + done.out


def test_without_podman_the_machine_is_not_ready(program: Program, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    program.env["PATH"] = str(bare)
    done = program.run("run", "x", "--fake")
    assert done.code == 3
    assert "podman" in done.err


def test_a_podman_that_is_too_old_is_told_by_doctor(program: Program, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "podman").write_text("#!/bin/sh\necho podman version 3.4.4\n")
    (bare / "podman").chmod(0o755)
    program.env["PATH"] = f"{bare}:{program.env['PATH']}"
    done = program.run("doctor")
    assert done.code == 3
    assert "3.4.4" in done.out


def test_doctor_finds_this_machine_ready(program: Program) -> None:
    done = program.run("doctor", "--json")
    assert done.code == 0, done.out
    assert done.json["ready"]


def test_a_description_of_more_than_a_megabyte_is_refused_with_its_size(program: Program) -> None:
    done = program.run("run", "-", "--fake", stdin="x" * 1_000_001)
    assert done.code == 2
    assert "1000001" in done.err.replace(",", "").replace("_", "")


def test_a_description_of_almost_a_megabyte_runs(program: Program) -> None:
    done = program.run("run", "-", "--fake", "--json", stdin="x" * 999_000)
    assert done.code == 0, done.err


def test_binary_and_empty_files_are_taken(program: Program, repo: Path) -> None:
    (repo / "empty.py").touch()
    (repo / "image.bin").write_bytes(bytes(range(256)) * 10)
    done = program.run(
        "run", "--type", "code_review", "-f", "empty.py", "-f", "image.bin", "--fake", "--json"
    )
    assert done.code == 0, done.err


def test_a_file_of_100_megabytes_is_refused_with_its_size(program: Program, repo: Path) -> None:
    with (repo / "huge.sql").open("wb") as file:
        file.truncate(100_000_000)
    done = program.run("run", "--type", "code_review", "-f", "huge.sql", "--fake", "--json")
    assert done.code == 1
    error = done.json["results"][0]["error"]
    assert "huge.sql" in error
    assert "max_file_bytes" in error


def test_a_socket_path_over_107_bytes_is_refused(program: Program) -> None:
    path = "/tmp/" + "x" * 110
    done = program.run("serve", "--fake", "--set", f"communication.socket_path={path}")
    assert done.code == 2
    assert "107" in done.err


def test_a_stale_socket_of_a_dead_service_is_replaced(program: Program) -> None:
    path = Path(program.env["UNDERSTUDY_COMMUNICATION__SOCKET_PATH"])
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    service = program.serve("--fake", "--agents", "1")
    assert program.end(service).code == 0
    assert not path.exists()


def test_two_services_on_one_state_folder_are_refused(program: Program) -> None:
    service = program.serve("--fake", "--agents", "1")
    second = program.run("serve", "--fake", "--agents", "1")
    assert second.code == 3
    assert str(service.pid) in second.err
    assert program.end(service).code == 0


def test_a_socket_that_another_service_answers_on_is_told(program: Program, tmp_path: Path) -> None:
    service = program.serve("--fake", "--agents", "1")
    other = str(tmp_path / "other")
    second = program.run("serve", "--fake", "--set", f"storage.state_dir={other}")
    assert second.code == 3
    assert "socket" in second.err
    assert program.end(service).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("left_bytes", [0, 10_000, 50_000, 100_000, 200_000])
def test_a_full_disk_is_told(program: Program, small_disk: Path, left_bytes: int) -> None:
    (small_disk / "filler").write_bytes(b"x" * (small_disk_free(small_disk) - left_bytes))
    done = program.run("run", "x", "--fake", "--set", f"storage.state_dir={small_disk}")
    assert done.code == 3
    assert "full" in done.err
    assert "defect" not in done.err


def small_disk_free(path: Path) -> int:
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize
