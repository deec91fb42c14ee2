"""Which addresses a name may lead to. Pure functions."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network

# The registry of special addresses (RFC 6890 and its updates), several hosts at once, what was
# kept for later; and the one address at which a cloud answers its own machines (Azure's).
_NOT_PUBLIC_4 = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
        ),
    )
)
# All that is given out for the public network (RFC 4291 § 2.4), less what leads to IPv4 addresses
# of any kind: Teredo and its neighbours (RFC 6890), documentation (RFC 3849), 6to4 (RFC 3056).
_PUBLIC_6 = ip_network("2000::/3")
_NOT_PUBLIC_6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


def may_connect(address: Address, named: Iterable[Network], own: Collection[Address]) -> bool:
    """Whether a connection may go to that address.

    Args:
        address: what a name led to.
        named: what the configuration allows beside public addresses.
        own: addresses of this machine; a service on one of them may trust who comes from here.
    """
    plain = _plain(address)
    if any(plain in network for network in named if network.version == plain.version):
        return True
    return is_public(plain) and plain not in own


def is_public(address: Address) -> bool:
    """Whether it belongs to some host of the public network.

    Not to this machine, its network, its cloud's service of secrets (169.254.169.254 and others),
    several hosts at once, or nobody.
    """
    address = _plain(address)
    if isinstance(address, IPv6Address):
        return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)
    return not any(address in network for network in _NOT_PUBLIC_4)


def _plain(address: Address) -> Address:
    """An IPv4 address in the clothes of IPv6 is the IPv4 address to the kernel."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
