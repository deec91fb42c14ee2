"""The base of the agent image, collected from this machine: programs and what they are linked to.

No container registry is needed and nothing is downloaded; it takes about 5 s and gives about 90 MB.
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from ..errors import ImageError

# Without these an agent cannot work.
NEEDED = ("bash", "git", "python3", "timeout", "env", "cat", "ls", "sh")
_USUAL = """
cp mv rm mkdir rmdir ln chmod chown touch head tail wc sort uniq cut tr tee date printenv pwd
echo printf test true false sleep seq stat basename dirname readlink realpath mktemp id whoami
groups uname nproc df du dd comm paste join nl od tac split csplit fold fmt expand shuf yes
xargs find grep egrep fgrep sed awk mawk diff cmp diff3 patch tar gzip gunzip zcat xz ps pgrep
pkill kill top which git-receive-pack git-upload-pack git-upload-archive curl rg less hostname
nohup nice expr factor md5sum sha1sum sha256sum base64 truncate mkfifo install sync tty stty
clear file ssh
"""
_SEARCH = "/usr/bin:/bin:/usr/sbin:/sbin"
_ELF = b"\x7fELF"
_LDD_TIMEOUT_S = 20.0
_LINKED = re.compile(r"(/\S+) \(0x")
_LEFT_OUT = re.compile(
    r"/(__pycache__|test|tests|idlelib|lib2to3|ensurepip|turtledemo|tkinter|config-3\.\d+[^/]*"
    r"|dist-packages|site-packages)(/|$)"
    r"|/git-core/git-(gui|citool|p4|svn|cvs|send-email|archimport|instaweb)"
)
# Loaded by name at run time (dlopen, nsswitch), so no program's header tells of them; the CLI, not
# among these files, is linked to some of them.
_LOADED_LIBRARIES = (
    *("libnss_files.so.2", "libnss_dns.so.2", "libdl.so.2", "librt.so.1", "libpthread.so.0"),
    *("libm.so.6", "libutil.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libresolv.so.2"),
)
_FOLDERS = """
usr usr/bin usr/sbin usr/lib usr/lib64 usr/local usr/local/bin etc var home root proc sys dev run
"""
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
    "agent:x:1000:1000::/home/agent:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def collect_host(target: Path) -> None:
    """Write the root file system as a tar file to `target`.

    Raises:
        ImageError: the machine lacks a program that an agent cannot do without.
    """
    missing = [name for name in NEEDED if shutil.which(name, path=_SEARCH) is None]
    if missing:
        detail = f"this machine has no {', '.join(missing)} in {_SEARCH}"
        raise ImageError("missing_tool", detail, "install it, or name a base image to build from")
    files = _Files()
    for name in (*NEEDED, *_USUAL.split()):
        found = shutil.which(name, path=_SEARCH)
        if found is not None:
            files.add(Path(found))
    for path in _extras():
        files.add(path)
    _write_tar(target, sorted(files.found))


class _Files:
    """A set of files that grows with links' targets, folders' content and linked libraries."""

    def __init__(self) -> None:
        self.found: set[Path] = set()

    def add(self, path: Path) -> None:
        # /bin/x and /usr/bin/x are one file where /bin is a link: stored under its real folder.
        path = path.parent.resolve() / path.name
        if path in self.found or _LEFT_OUT.search(str(path)):
            return
        if path.is_symlink():
            self.found.add(path)
            self.add(path.parent / path.readlink())
        elif path.is_dir():
            for entry in path.iterdir():
                self.add(entry)
        elif path.is_file() and os.access(path, os.R_OK):
            self.found.add(path)
            for library in _libraries(path):
                self.add(library)


def _libraries(path: Path) -> list[Path]:
    with path.open("rb") as file:
        if file.read(len(_ELF)) != _ELF:
            return []
    listed = subprocess.run(
        ["ldd", path], capture_output=True, text=True, check=False, timeout=_LDD_TIMEOUT_S
    )
    return [Path(name) for name in _LINKED.findall(listed.stdout)]


def _extras() -> list[Path]:
    python = Path(shutil.which("python3", path=_SEARCH) or "/usr/bin/python3").resolve().name
    machine = f"{platform.machine()}-linux-gnu"
    folders = [Path("/usr/lib", machine), Path("/usr/lib64"), Path("/usr/lib")]
    libraries = [folder / name for name in _LOADED_LIBRARIES for folder in folders]
    return [
        *(Path("/usr/lib/git-core"), Path("/usr/libexec/git-core"), Path("/usr/share/git-core")),
        *(Path("/usr/lib", python), Path("/usr/lib64", python), Path("/usr/lib/python3")),
        *(Path("/etc/ssl/certs"), Path("/usr/share/ca-certificates")),
        Path("/usr/lib/locale/C.utf8"),
        *(loader for folder in ("/lib64", "/lib") for loader in Path(folder).glob("ld-linux*")),
        *(library for library in libraries if library.exists()),
    ]


def _write_tar(target: Path, files: list[Path]) -> None:
    with tarfile.open(target, "w") as tar:
        for name in _FOLDERS.split():
            _add_folder(tar, name)
        for name in ("tmp", "var/tmp"):
            _add_folder(tar, name, mode=0o1777)
        for name in ("home/agent", "work"):
            _add_folder(tar, name, owner=1000)
        for name in ("bin", "sbin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(link)
        release = Path("/etc/os-release").read_text(encoding="utf-8")
        for name, text in {**_FILES, "etc/os-release": release}.items():
            info = tarfile.TarInfo(name)
            content = text.encode()
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
        for path in files:
            tar.add(path, str(path).lstrip("/"), recursive=False, filter=_owned_by_root)


def _add_folder(tar: tarfile.TarFile, name: str, *, mode: int = 0o755, owner: int = 0) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    info.uid = info.gid = owner
    tar.addfile(info)


def _owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
