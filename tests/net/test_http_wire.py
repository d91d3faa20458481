"""The bytes of a request, and an answer however its bytes are cut into parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cueapi.net.http_wire import AnswerReader, NotReadable, NotWritable, write_request

LIMIT = 20

ANSWERS: dict[str, tuple[bytes, int, bytes, bool]] = {
    "a length": (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone", 200, b"done", True),
    "no body": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "no reason": (b"HTTP/1.1 500\r\ncontent-length: 0\r\n\r\n", 500, b"", True),
    "chunks": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\ndo\r\n2\r\nne\r\n0\r\n\r\n",
        200,
        b"done",
        True,
    ),
    "hints before it": (
        b"HTTP/1.1 103 E\r\nlink: x\r\n\r\nHTTP/1.1 201 C\r\ncontent-length: 0\r\n\r\n",
        201,
        b"",
        True,
    ),
    "the last one": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ndone", 200, b"done", False),
    "until the end": (b"HTTP/1.0 200 OK\r\n\r\ndone", 200, b"done", False),
    "too long": (b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n" + b"x" * 30, 200, b"x" * LIMIT, False),
    "bytes behind it": (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndoneHTTP/1.1 200 OK\r\n", 200, b"done", False),
    "another protocol": (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", 101, b"", False),
}


def read(parts: list[bytes]) -> AnswerReader:
    """All of the parts, and then the end of the connection where the answer is not whole by then."""
    reader = AnswerReader(LIMIT)
    for part in parts:
        reader.feed(part)
    if not reader.done:
        reader.end()
    return reader


@pytest.mark.parametrize(("wire", "status", "body", "may_go_on"), ANSWERS.values(), ids=ANSWERS)
@given(data=st.data())
def test_an_answer_is_the_same_however_it_is_cut(
    data: st.DataObject, wire: bytes, status: int, body: bytes, may_go_on: bool
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1))))
    parts = [wire[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    reader = read(parts)

    assert (reader.status, bytes(reader.body), reader.may_go_on) == (status, body, may_go_on)
    assert reader.done
    assert reader.cut is (len(body) == LIMIT)


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\ndone",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_not_read(wire: bytes) -> None:
    with pytest.raises(NotReadable):
        read([wire])


@pytest.mark.parametrize(
    "wire",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 103 Hints\r\n\r\n"],
)
def test_what_breaks_off_is_not_complete(wire: bytes) -> None:
    assert not read([wire]).complete


def test_a_request_says_its_host_and_length_and_nothing_else_of_the_connection() -> None:
    headers = [("X-A", "1"), ("Host", "elsewhere"), ("Transfer-Encoding", "chunked"), ("X-Empty", "")]

    written = write_request("POST", "/a?b", "localhost:9", headers, b"{}")

    assert written == b"POST /a?b HTTP/1.1\r\nHost: localhost:9\r\nX-A: 1\r\nX-Empty: \r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("target", "header"),
    [
        ("/a ", ("X", "1")),
        ("/\r\nX: 1", ("X", "1")),
        ("/", ("X\r\nY", "1")),
        ("/", ("X", "1\r\nY: 2")),
        ("/", ("X", "1\nY: 2")),
        ("/", ("X", "\x00")),
        ("/", ("", "1")),
        ("/", ("X", "1\r2")),
        ("/", ("X", "\r")),
        ("/", ("Host: elsewhere\r\nX", "1")),
        ("/", ("Host: elsewhere", "1")),
        ("/", ("X", "€")),
        ("/", ("Ü", "1")),
        ("/", ("X", " 1")),
    ],
    ids=repr,
)
def test_what_would_be_read_as_something_else_is_not_written(target: str, header: tuple[str, str]) -> None:
    with pytest.raises(NotWritable):
        write_request("GET", target, "localhost", [("A", "1"), header, ("Z", "")], b"")
