"""The bytes of HTTP/1.1 (RFC 9112): a request as it is sent, and the answer as it is read. Knows no sockets."""

import re
from collections.abc import Iterable

import httptools
from attrs import define, field

FRAMING = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    }
)
"""Headers that belong to the connection: it writes its own, and drops those of the request."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_TARGET = re.compile(rb"[\x21-\x7e]+")


class NotWritable(Exception):
    """A part of the request cannot stand in HTTP; the message names it."""


class NotReadable(Exception):
    """What came is no HTTP answer."""


def write_request(
    method: str, target: str, authority: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> bytes:
    """The request with its framing: `Host`, and `Content-Length` wherever a body is or may be expected."""
    parts = [
        b"%b %b HTTP/1.1" % (_checked(_NAME, method.encode(), "method"), _checked(_TARGET, target.encode(), "target")),
        b"Host: %b" % authority.encode("ascii"),
    ]
    for name, value in headers:
        if name.lower() not in FRAMING:
            parts.append(b"%b: %b" % (_checked(_NAME, name, "name of a header"), _checked(_VALUE, value, "header")))
    if body or method not in {"GET", "HEAD"}:
        parts.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(parts) + b"\r\n\r\n" + body


def _checked(pattern: re.Pattern[bytes], text: bytes, what: str) -> bytes:
    if pattern.fullmatch(text) is None:
        raise NotWritable(f"illegal {what}")
    return text


@define(eq=False)
class AnswerReader:
    """
    Reads one answer; interim answers (1xx) before it are passed over. At most *limit* bytes of a body are kept.

    Where neither a length nor chunks say where the body ends, the end of the connection does (RFC 9112, 6.3).
    """

    limit: int
    head_only: bool = False
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(factory=list)
    body: bytearray = field(factory=bytearray)
    head_came: bool = False
    complete: bool = False
    cut: bool = False
    may_go_on: bool = False
    """Whether the connection can carry another request."""
    _framed: bool = False
    _parser: httptools.HttpResponseParser = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    @property
    def done(self) -> bool:
        """Nothing more is wanted: the answer is whole, or longer than what is kept."""
        return self.complete or self.cut

    def feed(self, data: bytes) -> None:
        """Take in bytes as they came. Raises NotReadable where they are no answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # 101: the protocol was changed, which was not asked for.
            self.complete, self.may_go_on = True, False
        except httptools.HttpParserError as error:
            # Bytes behind an answer that was to be the last one do it no harm.
            if not self.complete:
                raise NotReadable(str(error)) from error
            self.may_go_on = False

    def end(self) -> None:
        """The connection has ended."""
        self.complete = self.complete or (self.head_came and not self._framed)
        self.may_go_on = False

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self.complete:
            # Bytes of an answer that was not asked for.
            self.may_go_on = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_came:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        if 100 <= self.status < 200 and self.status != 101:
            self.headers.clear()
            return
        self.head_came = True
        self._framed = any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self.headers)
        if self.head_only:
            self.complete = True

    def on_body(self, data: bytes) -> None:
        if self.done:
            return
        self.body += data
        if len(self.body) > self.limit:
            del self.body[self.limit :]
            self.cut = True

    def on_message_complete(self) -> None:
        if self.head_came and not self.complete:
            self.complete = True
            self.may_go_on = not self.cut and bool(self._parser.should_keep_alive())
