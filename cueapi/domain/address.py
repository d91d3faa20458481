"""Which addresses are globally routable, and which belong to a private network."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# Spelled out, since `is_global` of the standard library changes with the patch release of Python.
PRIVATE_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # routable by its number, and Azure's metadata service
        "169.254.0.0/16",  # link-local, metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# All else of IPv6 is unspecified, loopback, local, multicast, or not allocated.
GLOBAL_IPV6 = IPv6Network("2000::/3")
PRIVATE_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: deprecated, and an IPv4 address in disguise
        "3fff::/20",  # documentation
    )
)
# Where a network has IPv6 only, DNS64 gives every name such an address: the IPv4 address inside decides.
NAT64 = IPv6Network("64:ff9b::/96")
MAPPED = IPv6Network("::ffff:0:0/96")
# Networks whose addresses end in an IPv4 address: translated here or by the network itself, compatible, mapped.
ENDING_IN_IPV4 = (NAT64, IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"), MAPPED)


@lru_cache(maxsize=4096)
def read_address(text: str) -> Address:
    """An IPv4 address mapped into IPv6 is read as what it is."""
    address = ip_address(text)
    return (address.version == 6 and address.ipv4_mapped) or address


def read_network(text: str, *, strict: bool = True) -> Network:
    """A CIDR; one of addresses mapped into IPv6 is read as what they are. Where *strict*, no host bits may be set."""
    network = ip_network(text, strict=strict)
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def inner_ipv4(address: Address) -> IPv4Address | None:
    """The IPv4 address in an IPv6 address that a network may lead to it; None where there is none."""
    if isinstance(address, IPv4Address):
        return None
    if any(address in network for network in ENDING_IN_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour


def is_loopback(host: str) -> bool:
    """Whether a name or an address leads to this machine alone (RFC 6761, 6.3; RFC 1122, 3.2.1.3; RFC 4291, 2.5.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return read_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def is_public(address: Address) -> bool:
    """Is *address* globally routable?"""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in PRIVATE_IPV4)
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in GLOBAL_IPV6 and not any(address in network for network in PRIVATE_IPV6)
