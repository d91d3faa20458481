"""The bytes of HTTP/1.1 (RFC 9112): a request as it is sent, and the answer as it is read. Knows no sockets."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import httptools
from attrs import define, field, frozen

from cueapi.domain.signature import FRAMING

Headers: TypeAlias = Sequence[tuple[str, str]]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
_VALUES = re.compile(rf"{_VALUE}(?:\r{_VALUE})*")
_TARGET = re.compile(r"[\x21-\x7e]+")


class NotWritable(Exception):
    """A part of the request cannot stand in HTTP; the message names it."""


class NotReadable(Exception):
    """What came is no HTTP answer."""


def write_request(method: str, target: str, authority: str, headers: Headers, body: bytes) -> bytes:
    """The request with its framing: `Host`, and `Content-Length` wherever a body is or may be expected."""
    fields = [(begin, value) for name, value in headers if (begin := _begin_field(name)) is not None]
    values = [value for _, value in fields]
    # All in one look. No value has a carriage return: there are as many of them as stand between the values.
    together = "\r".join(values)
    if _VALUES.fullmatch(together) is None or together.count("\r") > max(len(values) - 1, 0):
        raise NotWritable("illegal header")
    parts = [
        f"{_checked(_NAME, method, 'method')} {_checked(_TARGET, target, 'target')} HTTP/1.1\r\nHost: {authority}",
        *[begin + value for begin, value in fields],
    ]
    if body or method not in {"GET", "HEAD"}:
        parts.append(f"Content-Length: {len(body)}")
    return "\r\n".join(parts).encode("latin-1") + b"\r\n\r\n" + body


@lru_cache(maxsize=1024)
def _begin_field(name: str) -> str | None:
    """What stands before the value of a header; None where the connection writes its own."""
    return None if name.lower() in FRAMING else f"{_checked(_NAME, name, 'name of a header')}: "


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        raise NotWritable(f"illegal {what}")
    return text


@frozen
class Answer:
    """An answer as it came, but for a body of which *cut* says that no more was kept."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    cut: bool

    def header(self, name: bytes) -> str | None:
        """The value of the header of that name, in lower case; several are joined by commas (RFC 9110, 5.3)."""
        values = [value for each, value in self.headers if each.lower() == name]
        return b", ".join(values).decode("latin-1") if values else None


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
    def answer(self) -> Answer:
        """What has been read."""
        return Answer(self.status, self.headers, bytes(self.body), self.cut)

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
