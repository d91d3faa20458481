"""
Which URLs and addresses a callback may have.

Nothing here resolves a name: the caller does, has every address checked, and connects to one that was.
"""

import re
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from attrs import field, frozen

from cueapi.domain.address import Address, Network, inner_ipv4, is_public, read_address, read_network
from cueapi.domain.errors import Refusal
from cueapi.domain.url import DEFAULT_PORTS, UrlParts, is_address, read_host, split_url

BLOCKED_NAMES = frozenset({"localhost", "metadata.google.internal", "metadata.internal"})
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Reach(Enum):
    """Which addresses of a target may be connected to."""

    PUBLIC = "what is globally routable, and what CALLBACK_ALLOW opens"
    OPENED = "only what a CIDR of CALLBACK_ALLOW opens"
    LOOPBACK = "loopback: the server's own echo"
    ANY = "wherever the name leads: the operator named it"


@frozen
class Target:
    """Where a request goes: *host* is ASCII, lower-case, without a trailing dot or brackets."""

    scheme: str
    host: str
    port: int
    path: str
    reach: Reach

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@frozen
class Allow:
    """What the operator opened by CALLBACK_ALLOW."""

    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()
    """Each with the one port that it opens, or None: all."""

    def opens(self, host: str, port: int) -> bool:
        """Whether the name *host* is opened at *port*."""
        return (host, None) in self.names or (host, port) in self.names

    def covers(self, address: Address, port: int) -> bool:
        """Whether *address* is opened at *port*."""
        return any(only in {None, port} and address in network for network, only in self.networks)


@frozen
class Rules:
    """What is open here: by the environment, by CALLBACK_ALLOW, and the server's own echo."""

    production: bool = False
    allow: Allow = Allow()
    base_url: str = "http://localhost:8000"
    port: int = 8000
    _base: "UrlParts" = field(init=False, repr=False, eq=False)

    @_base.default
    def _read_base_url(self) -> "UrlParts":
        return split_url(self.base_url)

    @staticmethod
    def parse_allow(text: str) -> Allow:
        """Names and CIDRs, each with `:port` where given, separated by commas; ValueError names what is neither."""
        names, networks = set(), []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            place, port = _parse_allowed_port(entry)
            try:
                networks.append((read_network(place), port))
            except ValueError as error:
                if "host bits" in str(error):
                    raise
                names.add((_parse_allowed_name(place), port))
        return Allow(frozenset(names), tuple(networks))

    def echo_reach(self, parts: "UrlParts") -> Reach | None:
        """How far a URL of the server's own `/v1/echo/…` may reach; None for every other."""
        prefix = self._base.path.rstrip("/")
        inside = parts.origin == self._base.origin and parts.path.startswith(prefix)
        if inside and _ECHO.fullmatch(parts.path.removeprefix(prefix)):
            return Reach.ANY
        at_home = parts.scheme == "http" and parts.host in LOOPBACK_HOSTS and parts.port == self.port
        return Reach.LOOPBACK if at_home and _ECHO.fullmatch(parts.path) else None


@lru_cache(maxsize=4096)
def check_url(url: str, rules: Rules, code: str = "invalid_callback_url") -> Target:
    """Read *url*, or refuse it. An address in it is checked; a name is for the caller to look up."""
    try:
        parts = split_url(url)
        target = Target(parts.scheme, parts.host, parts.port, parts.path + parts.query, _reach(parts, rules))
    except ValueError as error:
        raise Refusal(code, str(error)) from error
    if is_address(target.host):
        check_addresses([target.host], target, rules, code)
    return target


def check_addresses(
    addresses: list[str], target: Target, rules: Rules, code: str = "invalid_callback_url"
) -> list[str]:
    """The addresses of *target* that may be connected to; a Refusal if any is blocked."""
    reasons = [check_address(address, target, rules) for address in addresses]
    opened = [address for address, reason in zip(addresses, reasons, strict=True) if reason is None]
    # 127.0.0.0/8 in CALLBACK_ALLOW means localhost, which may resolve to ::1 as well.
    if opened and _is_local_name(target.host):
        return opened
    for reason in filter(None, reasons):
        raise Refusal(code, reason)
    return opened


def check_address(address: str, target: Target, rules: Rules) -> str | None:
    """Why *target* may not be reached at *address*; None where it may."""
    found = read_address(address)
    if target.reach is Reach.ANY or rules.allow.covers(found, target.port):
        return None
    if target.reach is Reach.LOOPBACK and found.is_loopback:
        return None
    if not is_public(found):
        return _private(target.host, address)
    if target.reach is Reach.PUBLIC:
        return None
    return _private(target.host, address) if _is_blocked_name(target.host) else _HTTPS_ONLY


# A token cannot begin with a dot, so nothing climbs out of the folder, and no escape hides one.
_ECHO = re.compile(r"/v1/echo/[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_HTTPS_ONLY = "the URL must begin with https:// (http:// is only for what CALLBACK_ALLOW opens)"


# 10.0.0.0/8:9000, host.docker.internal:9000, [::1]:9000; without brackets the colons of IPv6 are its own.
_ALLOWED = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")

_LIKE_A_PORT = re.compile(r"[0-9]{2,5}")


def _parse_allowed_port(entry: str) -> tuple[str, int | None]:
    found = _ALLOWED.fullmatch(entry)
    if found is None:
        _refuse_ambiguous(entry)
        return entry, None
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError(f"{entry!r} is neither a name nor a CIDR: its port must be from 1 to 65535")
    return found["bracketed"] or found["plain"], port


def _refuse_ambiguous(entry: str) -> None:
    """Raises ValueError for an address such as `::1:9000`, whose end is meant as a port."""
    before, _, last = entry.rpartition(":")
    if _LIKE_A_PORT.fullmatch(last):
        try:
            read_address(before)
        except ValueError:
            return
        raise ValueError(f"{entry!r} is an address without a port: write [{before}]:{last}, or [{entry}]")


def _parse_allowed_name(entry: str) -> str:
    try:
        name = read_host(entry)
        if is_address(name):
            raise ValueError("an address in disguise")
    except ValueError as error:
        raise ValueError(f"{entry!r} is neither a name nor a CIDR") from error
    return name


def _reach(parts: UrlParts, rules: Rules) -> Reach:
    if (echo := rules.echo_reach(parts)) is not None:
        return echo
    if rules.allow.opens(parts.host, parts.port):
        return Reach.ANY
    blocked, insecure = _is_blocked_name(parts.host), rules.production and parts.scheme == "http"
    if not (blocked or insecure):
        return Reach.PUBLIC
    if rules.allow.networks:
        return Reach.OPENED
    raise ValueError(_private(parts.host, parts.host) if blocked else _HTTPS_ONLY)


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _is_blocked_name(host: str) -> bool:
    return host in BLOCKED_NAMES or _is_local_name(host)


def _private(host: str, address: str) -> str:
    who = host if host == address else f"{host} ({address})"
    # An address in disguise is opened as what it is.
    opened = str(read_address(host)) if is_address(host) else host
    if _is_metadata(host, address):
        return f"{who} is a private address"
    return f"{who} is a private address; the operator can open it with CALLBACK_ALLOW={opened}"


METADATA_NAMES = BLOCKED_NAMES - {"localhost"}
METADATA_NETWORKS = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16", "fe80::/10", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
            "fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128",
        ),
    )
)  # fmt: skip


def _is_metadata(host: str, address: str) -> bool:
    """A service that hands out a cloud machine's credentials: no message advises to open it."""
    if host in METADATA_NAMES:
        return True
    found = read_address(address) if is_address(address) else None
    inner = None if found is None else inner_ipv4(found)
    return any(one in network for one in (found, inner) if one is not None for network in METADATA_NETWORKS)


def opens_metadata(network: Network) -> bool:
    """Whether *network* has an address of such a service, in one of its forms."""
    if isinstance(network, IPv6Network) and (inner := inner_ipv4(network.network_address)) is not None:
        network = IPv4Network(inner)
    return any(network.overlaps(one) for one in METADATA_NETWORKS if one.version == network.version)
