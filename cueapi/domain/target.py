"""
Which URLs and addresses a callback may have.

Nothing here resolves a name: the caller does, has every address checked, and connects to one that was.
"""

import re
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from urllib.parse import quote

import idna
from attrs import field, frozen

from cueapi.domain.address import Address, Network, is_public, read_address
from cueapi.domain.errors import Refusal

URL_LIMIT = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
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

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def covers(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


@frozen
class Rules:
    """What is open here: by the environment, by CALLBACK_ALLOW, and the server's own echo."""

    production: bool = False
    allow: Allow = Allow()
    base_url: str = "http://localhost:8000"
    port: int = 8000
    _base: "_Parts" = field(init=False, repr=False, eq=False)

    @_base.default
    def _read_base_url(self) -> "_Parts":
        return _split(self.base_url)

    @staticmethod
    def parse_allow(text: str) -> Allow:
        """Names and CIDRs, separated by commas; ValueError names the entry that is neither."""
        names, networks = set(), []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            try:
                networks.append(ip_network(entry.removeprefix("[").removesuffix("]")))
            except ValueError as error:
                if "host bits" in str(error):
                    raise
                names.add(_parse_allowed_name(entry))
        return Allow(frozenset(names), tuple(networks))

    def echo_reach(self, parts: "_Parts") -> Reach | None:
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
        parts = _split(url)
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
    if target.reach is Reach.ANY or rules.allow.covers(found):
        return None
    if target.reach is Reach.LOOPBACK and found.is_loopback:
        return None
    if not is_public(found):
        return _private(target.host, address)
    if target.reach is Reach.PUBLIC:
        return None
    return _private(target.host, address) if _is_blocked_name(target.host) else _HTTPS_ONLY


def is_address(host: str) -> bool:
    """Is this host of a Target an address, so that there is nothing to look up?"""
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


@frozen
class _Parts:
    """A URL taken apart, with nothing decided yet."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?", re.IGNORECASE
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:\[\]]+)(?::(?P<port>[0-9]*))?")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff\\]|\s")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
# A token cannot begin with a dot, so nothing climbs out of the folder, and no escape hides one.
_ECHO = re.compile(r"/v1/echo/[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_HTTPS_ONLY = "the URL must begin with https:// (http:// is only for what CALLBACK_ALLOW opens)"


def _split(url: str) -> _Parts:
    """Our only reading of a URL, so that what is checked is what is connected to."""
    if len(url) > URL_LIMIT:
        raise ValueError(f"the URL has more than {URL_LIMIT:,} characters")
    if _UNPRINTABLE.search(url):
        raise ValueError("the URL holds a space, a backslash or a control character")
    whole = _URL.fullmatch(url)
    if whole is None:
        raise ValueError("the URL must begin with http:// or https://")
    if "@" in whole["authority"]:
        raise ValueError("the URL must not hold a user name or password")
    authority = _AUTHORITY.fullmatch(whole["authority"])
    if authority is None:
        raise ValueError("the URL needs a host, and a port from 1 to 65535 if any")
    scheme = whole["scheme"].lower()
    port = int(authority["port"] or DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65535:
        raise ValueError("the port of the URL must be from 1 to 65535")
    path, query = (quote(whole[part] or "", safe=_VISIBLE) for part in ("path", "query"))
    return _Parts(scheme, _read_host(authority["host"]), port, path or "/", query)


def _read_host(text: str) -> str:
    if text.startswith("["):
        if "%" in text:
            raise ValueError("the URL must not hold a zone id")
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError as error:
            raise ValueError(f"{text} is no IPv6 address") from error
    try:
        # UTS 46 makes full-width digits and ideographic stops plain ones: before we look for numbers.
        name = text if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"the host of the URL is no name: {error}") from error
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("the host of the URL is no name")
    return str(_read_ipv4(labels)) if _NUMBER.fullmatch(labels[-1]) else name


def _read_ipv4(parts: list[str]) -> IPv4Address:
    """As the C library reads it: 1 to 4 parts, decimal, octal or hex, the last one filling what is left."""
    try:
        *heads, last = (_read_number(part) for part in parts)
        if len(heads) > 3 or any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):
            raise ValueError("out of range")
    except ValueError as error:
        raise ValueError(f"{'.'.join(parts)} is no IPv4 address") from error
    return IPv4Address(int.from_bytes(bytes(heads).ljust(4, b"\0"), "big") + last)


def _read_number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("no number")
    if text.startswith("0x"):
        return int(text, 16)
    return int(text, 8 if text.startswith("0") else 10)


def _parse_allowed_name(entry: str) -> str:
    try:
        name = _read_host(entry)
        if is_address(name):
            raise ValueError("an address in disguise")
    except ValueError as error:
        raise ValueError(f"{entry!r} is neither a name nor a CIDR") from error
    return name


def _reach(parts: _Parts, rules: Rules) -> Reach:
    if (echo := rules.echo_reach(parts)) is not None:
        return echo
    if parts.host in rules.allow.names:
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
    return f"{who} is a private address; the operator can open it with CALLBACK_ALLOW={opened}"
