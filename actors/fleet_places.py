"""Where a fleet keeps its things, and whom it talks to: plain data that loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .gateway import Credentials

SOCKET_NAME = "api.sock"
# The root's name on the bus.
ORCHESTRATOR = "orchestrator"


@dataclass(frozen=True)
class FleetBase:
    """Where fleets live on this machine."""

    state_dir: Path
    cache_dir: Path
    run_root: Path

    @property
    def conversations(self) -> Path:
        """Homes and workspaces of tasks: see `Places`."""
        return self.state_dir / "conversations"

    @property
    def saved(self) -> Path:
        """Copies of work in progress: see `SavedCopies`."""
        return self.state_dir / "saved"


@dataclass(frozen=True)
class Upstream:
    """Whom the gateway talks to: a URL, or a child that serves a scripted model in its place."""

    credentials: Credentials
    url: str | None = None
    scripted_target: str | None = None


@dataclass(frozen=True)
class FleetPlaces:
    """Where one run keeps its things.

    `run_dir` holds the sockets (short paths), `work_dir` its lock; both go with it. `conversations`
    holds homes and workspaces of tasks, which may outlive it: see `Places`.
    """

    run_id: str
    run_dir: Path
    work_dir: Path
    conversations: Path
    transcripts: Path
    saved: Path
    logs: Path

    @property
    def bus(self) -> Path:
        """The bus socket."""
        return self.run_dir / "bus.sock"

    @property
    def scripted_model(self) -> Path:
        """The scripted model's socket, where one stands in for the API."""
        return self.run_dir / "model.sock"

    def socket_dir(self, agent_id: str) -> Path:
        """The folder mounted into that agent's containers."""
        return self.run_dir / agent_id

    def egress_dir(self, agent_id: str, number: int) -> Path:
        """The folder of that agent's way out of that number; see `egress.plan`."""
        return self.run_dir / f"{agent_id}-e{number}"

    def api_socket(self, agent_id: str) -> Path:
        """The gateway's socket for that agent."""
        return self.socket_dir(agent_id) / SOCKET_NAME
