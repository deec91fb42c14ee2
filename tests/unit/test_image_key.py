from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.actors.errors import ImageError
from understudy.actors.podman import DEFAULT_CLI_VERSION, image_tag
from understudy.actors.podman.cli_binary import cli_binary
from understudy.actors.podman.image import image_key

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_key_is_the_same_for_the_same_inputs_and_changes_with_each_of_them() -> None:
    key = image_key("1.2.3", "debian 12", "x86_64")
    assert image_key("1.2.3", "debian 12", "x86_64") == key
    others = {
        image_key("1.2.4", "debian 12", "x86_64"),
        image_key("1.2.3", "debian 13", "x86_64"),
        image_key("1.2.3", "debian 12", "aarch64"),
    }
    assert len(others | {key}) == 4


def test_the_tag_names_the_version() -> None:
    assert image_tag("1.2.3") == "localhost/understudy-agent:1.2.3"
    assert image_tag() == f"localhost/understudy-agent:{DEFAULT_CLI_VERSION}"


# -- the download --------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """An environment in which that program is this script, and hardly any other is there."""

    def make(name: str, body: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        for needed in ("sh", "mkdir", "tar", "gzip", "echo"):
            if not (folder / needed).exists():
                (folder / needed).symlink_to(f"/bin/{needed}")
        return {"PATH": str(folder)}

    return make


def fetch(cache: Path, env: dict[str, str], version: str = "1.2.3") -> tuple[Path, list[str]]:
    said: list[str] = []
    return cli_binary(version, cache, env=env, progress=said.append), said


NPM = """
mkdir package
echo '#!/bin/sh' > package/claude
echo "echo $5" >> package/claude
tar -czf claude.tgz package
"""


def test_the_program_of_that_version_is_taken_from_npm_and_kept(
    tmp_path: Path, fake: Callable[[str, str], dict[str, str]]
) -> None:
    cache = tmp_path / "cache"
    path, said = fetch(cache, fake("npm", NPM))
    assert path == cache / "claude-1.2.3"
    assert os.access(path, os.X_OK)
    assert "@anthropic-ai/claude-code-linux-" in path.read_text()
    assert "@1.2.3" in path.read_text()
    assert len(said) == 1
    assert [p.name for p in cache.iterdir()] == ["claude-1.2.3"]
    again, said = fetch(cache, fake("npm", "exit 1"))
    assert (again, said) == (path, [])


@pytest.mark.parametrize(
    ("stderr", "kind", "told"),
    [
        (
            "npm error code ETARGET\\nnpm error notarget No matching version",
            "no_such_version",
            "no @",
        ),
        (
            "npm error code ENOTFOUND\\nnpm error network request failed",
            "download",
            "request failed",
        ),
    ],
)
def test_a_refused_download_tells_why_and_leaves_nothing(
    stderr: str,
    kind: str,
    told: str,
    tmp_path: Path,
    fake: Callable[[str, str], dict[str, str]],
) -> None:
    env = fake("npm", f"printf '{stderr}\\n' >&2; exit 1")
    with pytest.raises(ImageError, match=told) as caught:
        fetch(tmp_path / "cache", env)
    assert (caught.value.kind, caught.value.exit_code) == (kind, 4)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("version", ["latest", "", "../../etc/passwd", "2.1", "1.2.3 --registry=x"])
def test_what_is_no_version_is_refused_before_anything_is_run(version: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is no version") as caught:
        fetch(tmp_path / "cache", {"PATH": ""}, version)
    assert caught.value.kind == "no_such_version"


def test_without_npm_the_wheel_is_taken_when_it_carries_that_version(
    tmp_path: Path, fake: Callable[[str, str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel = """
import zipfile
with zipfile.ZipFile("claude_agent_sdk-0.1-py3-none-any.whl", "w") as wheel:
    wheel.writestr("claude_agent_sdk/_bundled/claude", "#!/bin/sh\\necho 1.2.3 x\\n")
"""
    script = tmp_path / "pip.py"
    script.write_text(make_wheel)
    env = fake("python", f'case "$*" in *download*) exec {sys.executable} {script};; esac')
    monkeypatch.setattr("sys.executable", str(Path(env["PATH"], "python")))
    path, said = fetch(tmp_path / "cache", env)
    assert path.read_text() == "#!/bin/sh\necho 1.2.3 x\n"
    assert "PyPI" in said[0]
    with pytest.raises(ImageError, match=r"gives Claude Code 1\.2\.3, not 4\.5\.6"):
        fetch(tmp_path / "cache", env, "4.5.6")


def test_without_npm_and_pip_both_are_named(
    tmp_path: Path, fake: Callable[[str, str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(ImageError, match="neither npm nor pip") as caught:
        fetch(tmp_path / "cache", fake("true", ""))
    assert caught.value.exit_code == 3


def test_an_unknown_processor_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ImageError, match="riscv64") as caught:
        fetch(tmp_path / "cache", {"PATH": ""})
    assert caught.value.kind == "unsupported_machine"
