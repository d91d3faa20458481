"""
What h11 takes and RFC 9112 does not: bytes that a proxy before us may read in another way (request smuggling).

Of a head the bytes are looked at before h11 reads them, since it makes them look right: it ends lines at a bare LF,
unfolds folded ones, and makes one Content-Length of several. Of a body in chunks they are as it takes the lines out.
"""

import re
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import h11
from h11._receivebuffer import ReceiveBuffer

Received: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]

VERSIONS = (b" HTTP/1.1", b" HTTP/1.0")
"""How a request line ends (RFC 9112, 2.3)."""

_CONTROLS = bytes([*range(9), *range(11, 13), *range(14, 32), 127])
# To the end of the line, since a pattern that leaves blanks at the end out tries each of many blanks again and again.
_DECISIVE = re.compile(rb"(?<=\n)(content-length|transfer-encoding|host):([^\n]*)", re.IGNORECASE)
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


def is_sound(received: bytes) -> bool:
    """Whether what has come of a head so far may become one that is read in one way only."""
    end = received.find(b"\r\n\r\n")
    head = received if end < 0 else received[: end + 2]
    if head.count(b"\n") != head.count(b"\r\n") or head.translate(None, _CONTROLS) != head:
        return False
    return end < 0 or _is_sound_head(head)


def _is_sound_head(head: bytes) -> bool:
    """Whether a whole head is sound: its request line, and each of its fields on one line (RFC 9112, 3 and 5)."""
    line = head[: head.index(b"\r\n")]
    if not line.endswith(VERSIONS) or b"\r\n " in head or b"\r\n\t" in head:
        return False
    values: dict[bytes, list[bytes]] = {b"content-length": [], b"transfer-encoding": [], b"host": []}
    for name, value in _DECISIVE.findall(head):
        values[name.lower()].append(value.removesuffix(b"\r").strip(b" \t"))
    lengths, codings, hosts = values.values()
    if codings and (lengths or line.endswith(b"0")):
        return False
    # As digits once: `2, 2` and a second field of the same value are refused, too (RFC 9112, 6.3).
    return (not lengths or (len(lengths) == 1 and lengths[0].isdigit())) and all(map(_HOST.fullmatch, hosts))


class StrictBuffer(ReceiveBuffer):
    """What has come of a body in chunks: its lines end at CRLF alone (RFC 9112, 2.2), and hold no control character."""

    def maybe_extract_next_line(self) -> bytearray | None:
        """The line before a chunk, once it is whole."""
        line = super().maybe_extract_next_line()
        if line is not None and line[:-2].translate(None, _CONTROLS + b"\r\n") != line[:-2]:
            raise h11.RemoteProtocolError("the line before a chunk can be read in several ways")
        return line

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head, or of what follows the last chunk, once the empty line behind them is there."""
        if self._data.startswith(b"\n"):
            raise h11.RemoteProtocolError("a bare line feed ends nothing")
        return super().maybe_extract_lines()


class StrictConnection(h11.Connection):
    """The server's side of a connection. Raises RemoteProtocolError where h11 would be lenient."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 (as h11 takes them)
        super().__init__(*arguments, **named)
        self._receive_buffer = StrictBuffer()

    def next_event(self) -> Received:
        """The next event, of which a request has the Host that it is for."""
        if self.their_state is h11.IDLE and not is_sound(self.trailing_data[0]):
            raise h11.RemoteProtocolError("the head can be read in several ways")
        event = super().next_event()
        if isinstance(event, h11.EndOfMessage) and event.headers:
            # Nothing here reads trailers, and h11 ends their lines at a bare LF.
            raise h11.RemoteProtocolError("fields after the body are not taken")
        return _with_host(event) if isinstance(event, h11.Request) else event


def _with_host(request: h11.Request) -> h11.Request:
    """The host of a target that is a URL counts, and not the field (RFC 9112, 3.2.2)."""
    if not _is_target(request.target):
        raise h11.RemoteProtocolError("no target")
    if request.target.startswith(b"/") or request.target == b"*":
        return request
    authority = urlsplit(request.target).netloc
    others = [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method,
        target=request.target,
        headers=[(b"host", authority.rpartition(b"@")[2]), *others],
        http_version=request.http_version,
    )


def _is_target(target: bytes) -> bool:
    """True for a request target in a form that is known here (RFC 9112, 3.2): a path, or a URL for a proxy."""
    if target.startswith(b"/") or target == b"*":
        return True
    try:
        # Unquoted, as Quart will read it.
        parts = urlsplit(unquote(target.partition(b"?")[0].decode("ascii")))
        # Nothing else is served, and without a host the field would count, which a proxy may not have read.
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False
