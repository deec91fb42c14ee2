"""Whether the way out holds: from inside, a host is asked for that nobody named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..egress.container import EGRESS, EGRESS_SOCKET_NAME
from .audit import Finding, judged

if TYPE_CHECKING:
    from .promise import Promise

_REFUSED = "403"
# The name belongs to nobody (RFC 6761); a gateway that let it through would ask for its address.
_PROGRAM = """
import socket, sys
way = socket.socket(socket.AF_UNIX)
way.settimeout(5)
try:
    way.connect(sys.argv[1])
    way.sendall(b"CONNECT audit.understudy.invalid:443 HTTP/1.1\\r\\n\\r\\n")
    print(way.recv(64).split(b" ")[1].decode())
except (OSError, IndexError) as error:
    print(f"no answer: {error}")
"""


def egress_command() -> tuple[str, ...]:
    """The command that asks; it prints the status of the answer."""
    return ("python3", "-I", "-S", "-c", _PROGRAM, f"{EGRESS}/{EGRESS_SOCKET_NAME}")


def egress_finding(promise: Promise, said: str) -> Finding:
    """The line of the audit.

    Args:
        promise: names the hosts.
        said: what the command printed; not asked for without a host.
    """
    if not promise.egress_hosts:
        # That nothing leads out is told by the lines about mounts, network and sockets.
        return Finding("egress", "no host", "none is promised", "ok")
    promised = f"{', '.join(promise.egress_hosts)} alone"
    answer = said.strip()
    if not answer or answer.startswith("no answer"):
        return Finding("egress", promised, answer or "python3 cannot be run", "unknown")
    wrong = [] if answer == _REFUSED else [f"another host is answered with {answer}"]
    return judged("egress", promised, wrong, found="another host is refused")
