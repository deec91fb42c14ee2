"""The way out by name, from a real container: curl, git and pip through it, and nothing past it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from understudy import Orchestrator, Task
from understudy.actors.paths import cache_dir
from understudy.actors.podman import podman_env
from understudy.actors.podman.auditor import audit_container

pytestmark = pytest.mark.podman

# An address that no proxy variable leaves out, as it does localhost.
HOST = "127.0.0.2"
# Each of these is refused or fails; all of it must end, and say why.
COMMANDS = """
export CURL_CA_BUNDLE=/work/ca.pem GIT_SSL_CAINFO=/work/ca.pem PIP_CERT=/work/ca.pem
url=https://HOST:PORT
echo 1 $(curl -sS $url/hello.txt)
git clone -q $url/made.git /tmp/clone && echo 2 $(cat /tmp/clone/file)
pip="python3 /work/pip.whl/pip --disable-pip-version-check --retries 0"
$pip download -q --no-deps -d /tmp --index-url $url/simple made && echo 3 $(ls /tmp/*.whl)
echo 4 $(curl -sS https://HOST:1/ 2>&1)
echo 5 $(curl -sS https://evil.example/ 2>&1)
echo 6 $(curl -sS http://HOST:PORT/ 2>&1)
echo 7 $(curl -sS --noproxy '*' https://HOST:PORT/ 2>&1)
fetch='import urllib.request as u; u.urlopen("https://evil.example/")'
echo 8 $(python3 -c "$fetch" 2>&1 | tail -n 1)
echo 9 $(git ls-remote https://169.254.169.254/x 2>&1)
"""


@pytest.fixture
def site(repo: Path, tmp_path: Path) -> Iterator[int]:
    """A TLS server with a file, a git repository and a package index; its port."""
    root = tmp_path / "site"
    (root / "simple/made").mkdir(parents=True)
    (root / "hello.txt").write_text("hello\n")
    make_repository(root / "made.git", tmp_path / "origin")
    wheel = root / "made-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        about = "Metadata-Version: 2.1\nName: made\nVersion: 1.0\n"
        archive.writestr("made-1.0.dist-info/METADATA", about)
        archive.writestr("made-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    (root / "simple/made/index.html").write_text(f'<a href="/{wheel.name}">{wheel.name}</a>')
    key = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", repo / "ca.pem", "-days", "2", "-subj", f"/CN={HOST}",
         "-addext", f"subjectAltName=IP:{HOST}"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    (repo / "pip.whl").write_bytes(pip_wheel())
    handler = partial(Quiet, directory=str(root))
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(repo / "ca.pem", key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, name="understudy-site")
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
        del format, args


def make_repository(bare: Path, work: Path) -> None:
    work.mkdir()
    (work / "file").write_text("cloned\n")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (("init", "-q"), ("add", "file"), (*who, "commit", "-qm", "one")):
        subprocess.run(["git", "-C", work, *command], check=True, timeout=30)
    subprocess.run(["git", "clone", "-q", "--bare", work, bare], check=True, timeout=30)
    subprocess.run(["git", "-C", bare, "update-server-info"], check=True, timeout=30)


def pip_wheel() -> bytes:
    """The pip that comes with Python: the agent's image has none."""
    for bundled in resources.files("ensurepip").joinpath("_bundled").iterdir():
        if bundled.name.startswith("pip-"):
            return bundled.read_bytes()
    pytest.skip("this Python brings no pip")


def test_named_hosts_are_reached_by_curl_git_and_pip_and_all_else_is_refused(
    home: Path, image: str, repo: Path, site: int,
    monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any],
) -> None:  # fmt: skip
    del image
    monkeypatch.chdir(repo)
    script = COMMANDS.replace("HOST", HOST).replace("PORT", str(site))
    (repo / "try.sh").write_text(script)
    turn: list[dict[str, Any]] = [
        {"tool": "Bash", "input": {"command": "sh /work/try.sh"}},
        {"text": "{{tool_result}}"},
    ]
    settings = {
        "orchestrator.num_agents": 1,
        "gateway.scripted_model": True,
        "egress.allow": [f"{HOST}:{site}"],
        "roles.offline.egress": [],
    }
    with Orchestrator(overrides=settings) as fleet:
        files = ["try.sh", "ca.pem", "pip.whl"]
        task = Task(description=f"@@ {json.dumps(turn)} @@", files=files, timeout=60)
        container = ready(fleet, until)
        env = podman_env(cache_dir(os.environ), os.environ)
        audit = audit_container(container, env=env, secrets=[])
        assert [line for line in audit if line.verdict != "ok"] == []
        shown = {line.what: line.promised for line in audit}
        assert shown["egress"] == f"{HOST}:{site} alone"
        result = fleet.execute_task(task)
        assert result.status == "success", result.error
        said = dict(
            line.split(" ", 1) for line in result.result["output"].splitlines() if " " in line
        )
        assert (said["1"], said["2"], said["3"]) == (
            "hello",
            "cloned",
            "/tmp/made-1.0-py3-none-any.whl",
        )
        assert "CONNECT tunnel failed, response 403" in said["4"]
        assert "CONNECT tunnel failed, response 403" in said["5"]
        assert "use https" in said["6"]
        assert "Could not resolve" in said["7"] or "connect" in said["7"].lower()
        assert "egress.allow does not name evil.example:443" in said["8"]
        assert "response 403" in said["9"]
        reached = fleet.get_agent_status()["agent_000"]["egress"]
        assert reached[f"{HOST}:{site}"]["refused"] == 0
        assert reached[f"{HOST}:{site}"]["received_bytes"] > 1000
        assert {"evil.example:443", "169.254.169.254:443"} <= set(reached)
        # The same agent, in a role that may reach nothing: there is no proxy in its container.
        curl = f"curl -sS -k https://{HOST}:{site}/hello.txt; ls /run/egress"
        turn[0]["input"] = {"command": f"({curl}) 2>&1; true"}
        offline = Task(description=f"@@ {json.dumps(turn)} @@", role="offline", timeout=60)
        output = fleet.execute_task(offline).result["output"]
        assert "Could" in output  # not connect
        assert "No such file" in output
    rows = (home / "state/understudy/logs/egress.log").read_text().splitlines()
    assert {json.loads(row)["agent_id"] for row in rows} == {"agent_000"}
    assert any(json.loads(row)["host"] == "evil.example:443" for row in rows)


def ready(fleet: Orchestrator, until: Callable[..., Any]) -> str:
    """The container of the agent, once its CLI is warm."""

    def container() -> str | None:
        agent = fleet.get_agent_status()["agent_000"]
        return agent["container"] if agent["state"] == "ready" else None

    return str(until(container))
