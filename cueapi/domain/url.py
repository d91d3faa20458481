"""The one reading of a URL, so that what is checked is what is connected to."""

import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

import idna
from attrs import frozen

URL_LIMIT = 2048


DEFAULT_PORTS = {"http": 80, "https": 443}


def is_address(host: str) -> bool:
    """Is this host of a Target an address, so that there is nothing to look up?"""
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


@frozen
class UrlParts:
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
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.ASCII
)


_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:\[\]]+)(?::(?P<port>[0-9]*))?")


_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff\\]|\s")


_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


_PORT = re.compile(r"[0-9]{1,6}")


_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


def split_url(url: str) -> UrlParts:
    """*url* taken apart. Raises ValueError with what is wrong."""
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
    return UrlParts(scheme, read_host(authority["host"]), port, path or "/", query)


def read_host(text: str) -> str:
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


def read_place(text: str) -> str:
    """
    A host with its port as a target is called by them, however it is written: `Agent.Example.com.:443` too.

    Raises ValueError with what is wrong.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or not 1 <= int(port) <= 65_535:
        raise ValueError("must be a host and its port, as in agent.example.com:443")
    # As targets are shown, an IPv6 address has no brackets.
    return f"{read_host(f'[{host}]' if ':' in host and not host.startswith('[') else host)}:{int(port)}"


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
