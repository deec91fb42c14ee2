"""What a container with a way out has more than others: a socket, variables, a forwarder."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EGRESS = "/run/egress"
EGRESS_SOCKET_NAME = "egress.sock"
_PORT = 3128
_FORWARDER = "forward.py"
_PROXY = f"http://127.0.0.1:{_PORT}"
_BY_NAME = {
    "HTTPS_PROXY": _PROXY,
    # Plain http is refused, but with a reason; without a proxy the name would just be unknown.
    "HTTP_PROXY": _PROXY,
    # The Messages API is reached by its own socket, under this name.
    "NO_PROXY": "localhost,127.0.0.1,::1",
}
# Some programs read the one form only, some the other.
EGRESS_ENV: Mapping[str, str] = MappingProxyType(
    _BY_NAME | {name.lower(): value for name, value in _BY_NAME.items()}
)


def prepare(folder: Path) -> None:
    """Make the folder that is mounted at `EGRESS`, read-only: the forwarder is in it already."""
    # The container's user must enter it; the folder above is closed to everybody else.
    folder.mkdir(mode=0o755)
    shutil.copyfile(Path(__file__).with_name("inside.py"), folder / _FORWARDER)
    (folder / _FORWARDER).chmod(0o644)


def with_way_out(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, started after the forwarder that stands on the container's loopback."""
    program = ("python3", "-I", "-S", f"{EGRESS}/{_FORWARDER}")
    return (*program, str(_PORT), f"{EGRESS}/{EGRESS_SOCKET_NAME}", *command)
