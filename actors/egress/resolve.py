"""From a name to a connection: looked up once, checked, and connected to what was checked."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

from .addresses import may_connect
from .connect import MAX_HEAD_BYTES, Refused

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Collection

    from .addresses import Address, Network
    from .rules import Host


async def open_to(
    host: Host, named: Collection[Network], own: Collection[Address], timeout_s: float
) -> tuple[StreamReader, StreamWriter]:
    """A connection to the host.

    The name is looked up here and only once: a second answer with another address, which a hostile
    name server may give, is never asked for.

    Raises:
        Refused: it has no address that may be connected to, or none answers.
    """
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await _addresses(host, named, own)
            return await _first(host, addresses)
    except TimeoutError:
        raise Refused(504, f"{host} did not answer within {timeout_s:g} s") from None


async def _addresses(
    host: Host, named: Collection[Network], own: Collection[Address]
) -> list[Address]:
    try:
        # The allow-list names it: nothing is looked up, and nothing more is asked.
        return [ip_address(host.name)]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refused(502, f"{host.name} cannot be resolved: {error.strerror}") from None
    # "fe80::1%eth0" has a zone, without which it is nobody's.
    all_of_them = [ip_address(str(row[4][0]).partition("%")[0]) for row in found]
    good = [address for address in all_of_them if may_connect(address, named, own)]
    if not good:
        bad = ", ".join(map(str, all_of_them[:3]))
        text = f"{host.name} leads to {bad}, not public; egress.allow_addresses does not name it"
        raise Refused(403, text)
    return good


async def _first(host: Host, addresses: list[Address]) -> tuple[StreamReader, StreamWriter]:
    why = "it has no address"
    for address in dict.fromkeys(addresses):
        try:
            return await asyncio.open_connection(str(address), host.port, limit=MAX_HEAD_BYTES)
        except OSError as error:
            why = error.strerror or str(error)
    raise Refused(502, f"{host} cannot be reached: {why}")
