"""The gateway as a child process: sockets for the agents on one side, the API on the other."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..bus import join_bus
from ..core_dumps import forbid_core_dumps
from ..egress.doors import EgressDoors
from ..errors import AgentError
from .bus import GatewayBus
from .client import UpstreamClient
from .credentials import Credentials, InvalidCredentials
from .desk import DeskPlan, make_desk
from .doors import Doors
from .ledger_file import LedgerError
from .loop import call_in, stop_event
from .prices import InvalidPrices
from .upstream import InvalidUpstream, check_upstream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from understudy.supervision import ChildContext

_log = logging.getLogger(__name__)

_COMMAND_S = 10.0


class BusLost(AgentError):
    """The orchestrator's bus went away while its process lives on; a restart finds the new one."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"the bus at {self.path} closed the gateway's connection"


@dataclass(frozen=True)
class GatewayPlan:
    """What the child spec's `args` say.

    Attributes:
        upstream: the API's address.
        credentials: the key to it.
        agents: the path of each agent's socket.
        bus: the path of the bus's socket.
        name: the gateway's name on the bus.
        desk: limits, budgets, ledger; see `DeskPlan`.
        egress: the agents' other ways out; see `EgressDoors`.
    """

    upstream: str
    credentials: Credentials
    agents: Mapping[str, str]
    bus: str
    name: str
    desk: DeskPlan
    egress: Mapping[str, Any]

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> GatewayPlan:
        """Check the arguments.

        Raises:
            InvalidUpstream, InvalidCredentials, InvalidPrices: no restart mends this.
        """
        return cls(
            upstream=check_upstream(args["upstream"]),
            credentials=Credentials.from_wire(args["credentials"]),
            agents=args["agents"],
            bus=args["bus"],
            name=args.get("name", "gateway"),
            desk=DeskPlan.from_args(args),
            egress=args.get("egress") or {},
        )


def main(context: ChildContext) -> None:
    """Serve until the supervisor asks for the end. Ready once every agent's socket listens.

    Raises:
        TransportError: the bus cannot be reached, or a socket not be made.
        BusLost: the bus went away.
    """
    forbid_core_dumps()
    try:
        plan = GatewayPlan.from_args(context.args)
    except (InvalidUpstream, InvalidCredentials, InvalidPrices) as error:
        context.fail_permanently("config", str(error))
    # What is left in the memory of this process is the plan's own copy.
    context.args.pop("credentials", None)
    try:
        asyncio.run(_serve(context, plan))
    except LedgerError as error:
        # At the start only: later ones are told to whoever asks, and the gateway stays.
        context.fail_permanently("config", str(error))


async def _serve(context: ChildContext, plan: GatewayPlan) -> None:
    gateway = _Gateway(context, plan)
    try:
        await gateway.serve()
    finally:
        await gateway.close()


class _Gateway:
    """The parts of a gateway and how they hang together. Lives in the loop."""

    def __init__(self, context: ChildContext, plan: GatewayPlan) -> None:
        self._context = context
        self._plan = plan
        self._loop = asyncio.get_running_loop()
        self._stop = stop_event(context)
        self._is_lost = False
        channel = join_bus(context)
        self._bus = GatewayBus(
            plan.name,
            channel,
            incarnation=context.incarnation,
            on_command=self._on_command,
            on_lost=lambda: call_in(self._loop, self._on_lost),
        )
        self._upstream = UpstreamClient(plan.upstream, os.environ)
        self._desk = make_desk(plan.desk, self._upstream, plan.credentials, self._bus.report)
        self._doors = Doors(self._desk)
        self._egress = EgressDoors(plan.egress, self._bus.report)

    async def serve(self) -> None:
        self._bus.start()
        for agent_id, path in self._plan.agents.items():
            await self._doors.open(agent_id, path)
        await self._egress.open()
        self._context.ready({"agents": self._doors.agents})
        await self._stop.wait()
        if self._is_lost:
            raise BusLost(self._plan.bus)

    async def close(self) -> None:
        await self._egress.close()
        await self._doors.close_all()
        self._desk.gate.close()
        self._desk.accounts.close()
        await self._upstream.close()
        await asyncio.to_thread(self._bus.close)

    def _on_lost(self) -> None:
        self._is_lost = True
        self._stop.set()

    def _on_command(self, command: dict[str, Any]) -> None:
        """Carry a command out in the loop; called in the bus's thread."""
        if command["command"] == "assign":
            # Nobody is told, so nobody waits: in the loop it comes before what is asked later.
            call_in(self._loop, lambda: self._assign(command))
            return
        done = asyncio.run_coroutine_threadsafe(self._obey(command), self._loop)
        done.result(_COMMAND_S)

    async def _obey(self, command: Mapping[str, Any]) -> None:
        match command["command"]:
            case "open":
                await self._doors.open(command["agent_id"], command["socket_path"])
            case _:
                await self._doors.close(command["agent_id"])

    def _assign(self, command: dict[str, Any]) -> None:
        try:
            self._desk.accounts.assign(command["agent_id"], command)
        except (LedgerError, LookupError, TypeError, ValueError) as error:
            _log.warning("an assignment is not taken whole: %r: %r", error, command)
