from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from understudy.actors.errors import PodmanError
from understudy.actors.podman import CONTAINER_UID, Container, podman_env, run_podman
from understudy.actors.podman.removal import container_exists

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from understudy.actors.podman import ContainerSpec

pytestmark = pytest.mark.podman

SLEEP = ("sleep", "600")
CLI = (
    *("claude", "-p", "--input-format=stream-json", "--output-format=stream-json", "--verbose"),
    *("--setting-sources=", "--strict-mcp-config"),
)

# Without these the CLI spends 17 s on hosts that it cannot reach.
OFFLINE = {
    "ANTHROPIC_API_KEY": "placeholder",
    "ANTHROPIC_BASE_URL": "http://localhost",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}


def ask(container: Container, line: str) -> str:
    container.stdin.write(line.encode() + b"\n")
    container.stdin.flush()
    return container.stdout.readline().decode().rstrip("\n")


# -- pipes and ends ------------------------------------------------------------------------------


def test_the_program_reads_and_writes_our_pipes_and_no_client_stays(
    start: Callable[..., Container],
) -> None:
    container = start("sh", "-c", "echo warning >&2; exec cat")
    assert ask(container, "one") == "one"
    assert ask(container, "two") == "two"
    assert container.stderr.readline() == b"warning\n"
    assert not [p for p in psutil.Process().children(recursive=True) if p.name() == "podman"]


@pytest.mark.parametrize("image", ["agent_image", "old_agent_image"])
def test_end_of_file_on_stdin_ends_the_cli(
    image: str, start: Callable[..., Container], request: pytest.FixtureRequest
) -> None:
    container = start(
        *CLI,
        image=request.getfixturevalue(image),
        memory="1g",
        env=OFFLINE,
    )
    hello = {"type": "control_request", "request_id": "1", "request": {"subtype": "initialize"}}
    assert "control_response" in ask(container, json.dumps(hello))
    assert container.alive()
    container.stdin.close()
    assert container.wait(5.0)
    assert container.exit_code(timeout_s=20.0) == 0
    assert not container.oom()


def test_a_start_and_stop_leave_no_record_and_can_be_repeated_with_the_next_name(
    make_spec: Callable[..., ContainerSpec], podman_environment: dict[str, str]
) -> None:
    containers = [Container(make_spec("cat"), env=podman_environment) for _ in range(3)]
    for container in containers:
        with container:
            assert container.pid is not None
            assert len(container.container_id) == 64
        assert not container.alive()
        assert not container_exists(container.spec.name, podman_environment)
        container.stop()
        container.close()


def test_its_exit_code_is_known_after_it_ended(start: Callable[..., Container]) -> None:
    container = start("sh", "-c", "read line; exit 7")
    assert container.exit_code(timeout_s=0) is None
    container.stdin.close()
    assert container.wait(5.0)
    assert container.exit_code(timeout_s=20.0) == 7


def test_kill_ends_it_at_once_and_podman_forgets_it(
    start: Callable[..., Container],
    podman_environment: dict[str, str],
    eventually: Callable[..., bool],
) -> None:
    container = start(*SLEEP)
    container.kill()
    assert container.wait(2.0)
    assert container.exit_code(timeout_s=20.0) == 128 + signal.SIGKILL
    assert eventually(lambda: not container_exists(container.spec.name, podman_environment))
    container.kill()  # nothing is there any more: nothing happens


def test_stop_does_not_wait_for_a_writer_that_is_stuck_on_a_full_pipe(
    start: Callable[..., Container],
) -> None:
    container = start(*SLEEP)

    def write_for_nobody() -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            container.stdin.write(b"x" * (1 << 20))

    writer = threading.Thread(target=write_for_nobody, name="understudy-test-writer", daemon=True)
    writer.start()
    container.stop(grace_s=0.2)
    writer.join(5.0)
    assert not writer.is_alive()
    assert not container.alive()


def test_podman_ends_it_after_its_time_whatever_became_of_its_owner(
    start: Callable[..., Container],
) -> None:
    container = start(*SLEEP, timeout_s=1)
    assert container.wait(10.0)


# -- what it is cut off from ---------------------------------------------------------------------


def test_the_process_has_no_rights_and_cannot_gain_any(start: Callable[..., Container]) -> None:
    container = start("cat")
    status = container.exec("cat /proc/1/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    assert fields["Uid"].split() == [str(CONTAINER_UID)] * 4
    assert fields["Gid"].split() == ["1000"] * 4


def test_only_home_workspace_and_tmp_can_be_written(start: Callable[..., Container]) -> None:
    container = start("cat")
    tried = "for d in / /etc /usr/bin /var/tmp /run /run/agent /home /home/agent /work /tmp"
    shown = container.exec(f"{tried}; do touch $d/t 2>/dev/null && echo $d; done; true")
    assert shown.stdout.split() == ["/home/agent", "/work", "/tmp"]
    mounts = container.exec("cat /proc/self/mounts").stdout.splitlines()
    options = {line.split()[1]: line.split()[3].split(",") for line in mounts}
    assert "ro" in options["/"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options["/run/agent"])
    assert {"nosuid", "nodev"} <= set(options["/work"]) & set(options["/home/agent"])
    assert "size=262144k" in options["/tmp"]


def test_what_it_writes_lands_in_our_folders_and_a_read_only_workspace_stays_as_it_is(
    start: Callable[..., Container],
) -> None:
    container = start("cat")
    assert container.exec("echo hi > /work/a && echo ho > ~/b").exit_code == 0
    assert (container.spec.work_dir / "a").read_text() == "hi\n"
    assert (container.spec.home_dir / "b").read_text() == "ho\n"
    reader = start("cat", read_only_work=True)
    assert "Read-only file system" in reader.exec("touch /work/a").stderr


def test_a_folder_with_commas_colons_and_quotes_is_mounted(
    start: Callable[..., Container], tmp_path: Path
) -> None:
    odd = tmp_path / 'a,b:c "d" é'
    odd.mkdir()
    (odd / "file").write_text("found")
    container = start("cat", work_dir=odd)
    assert container.exec("cat /work/file").stdout == "found"


def test_there_is_no_network_but_the_socket_that_is_mounted(
    start: Callable[..., Container],
) -> None:
    container = start("cat")
    assert container.exec("ls /sys/class/net").stdout.split() == ["lo"]
    assert container.exec("echo > /dev/tcp/1.1.1.1/53").exit_code != 0
    assert container.spec.socket_dir is not None
    path = container.spec.socket_dir / "api.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o666)
        server.listen()
        connect = (
            "import socket; s = socket.socket(1); s.connect('/run/agent/api.sock'); s.send(b'hi')"
        )
        assert container.exec(["python3", "-c", connect]).stderr == ""
        server.settimeout(5.0)
        with server.accept()[0] as peer:
            assert peer.recv(10) == b"hi"


def test_no_secret_of_ours_is_in_it_or_in_what_podman_remembers(
    make_spec: Callable[..., ContainerSpec], image_cache: Path
) -> None:
    secrets = {
        "ANTHROPIC_API_KEY": "canary-1",
        "ANTHROPIC_AUTH_TOKEN": "canary-2",
        "CLAUDE_CODE_OAUTH_TOKEN": "canary-3",
        # Podman hands the proxy variables to every container by itself, passwords and all.
        "HTTPS_PROXY": "http://user:canary-4@localhost:1",
        "MY_TOKEN": "canary-5",
    }
    env = podman_env(image_cache, {**os.environ, **secrets})
    with Container(make_spec("cat"), env=env) as container:
        inside = container.exec("env; cat /proc/1/environ").stdout
        remembered = run_podman("inspect", container.spec.name, timeout_s=30, env=env).stdout
    assert "HOME=/home/agent" in inside
    assert "canary" not in inside
    assert "canary" not in remembered


def test_calls_that_an_agent_has_no_use_for_are_refused_by_the_kernel(
    start: Callable[..., Container],
) -> None:
    program = """
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
def refused(result): return result == -1 and ctypes.get_errno() in (1, 38)
print("unshare", refused(libc.unshare(0x10000000)))
print("ptrace", refused(libc.ptrace(0, 0, 0, 0)))
print("mount", refused(libc.mount(b"x", b"/tmp", b"tmpfs", 0, 0)))
for family in (38, 40, 17):
    try:
        socket.socket(family, socket.SOCK_SEQPACKET if family == 38 else socket.SOCK_STREAM)
        print("socket", family, False)
    except OSError:
        print("socket", family, True)
"""
    shown = start("cat").exec(["python3", "-c", program])
    assert shown.stderr == ""
    assert "False" not in shown.stdout
    assert len(shown.stdout.splitlines()) == 6


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "value"),
    [
        (("memory.max", "memory/memory.limit_in_bytes"), str(128 << 20)),
        (("memory.swap.max", "memory/memory.memsw.limit_in_bytes"), None),
        (("pids.max", "pids/pids.max"), "64"),
        (("cpu.max", "cpu/cpu.cfs_quota_us"), "50000"),
    ],
)
def test_the_kernel_holds_the_limits_that_were_asked_for(
    files: tuple[str, str], value: str | None, start: Callable[..., Container]
) -> None:
    container = start("cat", memory="128m", cpus="0.5", pids_limit=64)
    new, old = (f"/sys/fs/cgroup/{file}" for file in files)
    found = container.exec(f"cat {new} 2>/dev/null || cat {old}").stdout.split()[0]
    # Version 1 counts memory and swap together, version 2 swap alone.
    assert found == value or (value is None and found in {"0", str(128 << 20)})


def test_open_files_and_core_dumps_are_limited(start: Callable[..., Container]) -> None:
    assert start("cat").exec("ulimit -n; ulimit -c").stdout.split() == ["4096", "0"]


def test_a_fork_bomb_stays_within_its_limit(start: Callable[..., Container]) -> None:
    container = start("cat", pids_limit=32)
    shown = container.exec("for i in $(seq 100); do sleep 1 & done; wait", timeout_s=10)
    assert "Resource temporarily unavailable" in shown.stderr
    assert container.alive()


def test_a_program_killed_for_its_memory_is_told_from_one_killed_otherwise(
    start: Callable[..., Container],
    podman_environment: dict[str, str],
    eventually: Callable[..., bool],
) -> None:
    greedy = start("python3", "-c", "x = 'x' * (1 << 30)", memory="64m")
    assert greedy.wait(20.0)
    # The kernel's counter has gone with the container: it was read in the last moment.
    assert eventually(lambda: not container_exists(greedy.spec.name, podman_environment))
    assert greedy.oom()
    assert not Path("oom").exists()
    assert greedy.exit_code() == 128 + signal.SIGKILL
    killed = start(*SLEEP)
    killed.kill()
    assert killed.wait(5.0)
    assert not killed.oom()


# -- commands in it ------------------------------------------------------------------------------


def test_a_command_gives_its_output_and_its_exit_code(start: Callable[..., Container]) -> None:
    result = start("cat").exec("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert result.command == "echo out; echo err >&2; exit 3"


def test_a_command_over_its_time_is_ended_inside(start: Callable[..., Container]) -> None:
    container = start("cat")
    assert container.exec("sleep 555", timeout_s=0.3).exit_code == 124
    assert "555" not in container.exec(["ps", "-eo", "args"]).stdout


def test_a_command_in_a_container_that_has_ended_is_an_error(
    start: Callable[..., Container],
) -> None:
    container = start(*SLEEP)
    container.kill()
    assert container.wait(5.0)
    with pytest.raises(PodmanError):
        container.exec("true")


# -- failed starts -------------------------------------------------------------------------------


def test_a_name_in_use_is_refused_and_its_bearer_lives_on(
    start: Callable[..., Container],
    make_spec: Callable[..., ContainerSpec],
    podman_environment: dict[str, str],
) -> None:
    first = start("cat")
    second = Container(make_spec("cat", name=first.spec.name), env=podman_environment)
    with pytest.raises(PodmanError) as caught:
        second.start()
    assert caught.value.kind == "name_in_use"
    second.stop()
    assert ask(first, "still here") == "still here"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"image": "localhost/understudy-nowhere:1"}, "image_missing"),
        ({"work_dir": "gone"}, "mount_missing"),
        ({"memory": "2q"}, "bad_option"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing(
    fields: dict[str, str],
    kind: str,
    make_spec: Callable[..., ContainerSpec],
    podman_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    spec = make_spec("cat", **{k: tmp_path / v if v == "gone" else v for k, v in fields.items()})
    container = Container(spec, env=podman_environment)
    with pytest.raises(PodmanError) as caught:
        container.start()
    assert caught.value.kind == kind
    assert caught.value.is_missing_image == (kind == "image_missing")
    assert not container_exists(spec.name, podman_environment)
    assert sorted(p.name for p in spec.home_dir.parent.iterdir()) == ["home", "sockets", "work"]


def test_without_podman_on_the_path_the_error_says_so(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path
) -> None:
    container = Container(make_spec("cat"), env={"PATH": str(tmp_path)})
    with pytest.raises(PodmanError, match="understudy doctor") as caught:
        container.start()
    assert caught.value.kind == "podman_missing"
    assert caught.value.is_permanent
