"""Bytes that another reader could take for other requests are refused, and their connection is closed (RFC 9112)."""

import json
import time

import h11
import pytest
import trio

from cueapi.api.http.strict_http import StrictConnection, is_sound
from tests.conftest import RunningDaemon

HEAD = b"GET /status HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/auth/register HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "bare line feeds": HEAD.replace(b"\r\n", b"\n") + b"\n",
    "one bare line feed": HEAD + b"X: y\n\r\n",
    "a bare line feed at the end": HEAD + b"\n",
    "a bare line feed in a value": HEAD + b"X: y\nZ: z\r\n\r\n",
    "a bare carriage return": HEAD + b"X: y\rZ: z\r\n\r\n",
    "two carriage returns": HEAD + b"X: y\r\r\n\r\n",
    "an empty line before": b"\r\n" + HEAD + b"\r\n",
    "a folded field": HEAD + b"X: y\r\n z\r\n\r\n",
    "a field folded by a tab": HEAD + b"X: y\r\n\tz\r\n\r\n",
    "a folded length": POST + b"Content-Length:\r\n 2\r\n\r\n{}",
    "a blank before the first field": b"GET /status HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "two lengths that agree": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths that do not": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "two lengths in other cases": POST + b"content-length: 2\r\nCONTENT-LENGTH: 2\r\n\r\n{}",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a fraction": POST + b"Content-Length: 2.0\r\n\r\n{}",
    "a length with an underscore": POST + b"Content-Length: 0_2\r\n\r\n{}",
    "no length": POST + b"Content-Length: \r\n\r\n{}",
    "a length and a coding": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "a coding in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/2.0": HEAD.replace(b"1.1", b"2.0") + b"\r\n",
    "HTTP/0.9": HEAD.replace(b"1.1", b"0.9") + b"\r\n",
    "HTTP/1.2": HEAD.replace(b"1.1", b"1.2") + b"\r\n",
    "HTTP/1.10": HEAD.replace(b"1.1", b"1.10") + b"\r\n",
    "another case": HEAD.replace(b"HTTP", b"http") + b"\r\n",
    "no version": b"GET /status\r\nHost: localhost\r\n\r\n",
    "a blank behind the version": HEAD.replace(b"1.1", b"1.1 ") + b"\r\n",
    "two blanks in the request line": HEAD.replace(b" /", b"  /") + b"\r\n",
    "a tab in the request line": HEAD.replace(b" /", b"\t/") + b"\r\n",
    "a fragment of another request line": HEAD.replace(b"/status", b"/status HTTP/1.1") + b"\r\n",
    "a blank before the colon": HEAD + b"X : y\r\n\r\n",
    "a length with a blank before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "a coding with a blank before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a field without a colon": HEAD + b"nonsense\r\n\r\n",
    "a field without a name": HEAD + b": y\r\n\r\n",
    "a NUL": HEAD + b"X: a\x00b\r\n\r\n",
    "a control character": HEAD + b"X: a\x01b\r\n\r\n",
    "a name that is no token": HEAD + b"X(y): z\r\n\r\n",
    "no host": b"GET /status HTTP/1.1\r\n\r\n",
    "two hosts": HEAD + b"Host: localhost\r\n\r\n",
    "a target of another scheme": b"GET ftp://localhost/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target without a host": b"GET http:///status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target with a port alone": b"GET http://:80/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a host with a path": b"GET /status HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
    "a host with a user": b"GET /status HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n",
    "a chunk's size with a prefix": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with a sign": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk without a size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with an underscore": CHUNKED + b"0_2\r\n{}\r\n0\r\n\r\n",
    "a chunk's size of 21 digits": CHUNKED + b"0" * 20 + b"2\r\n{}\r\n0\r\n\r\n",
    "a chunk that ends at a bare line feed": CHUNKED + b"2\n{}\n0\n\n",
    "a line feed in a chunk's extension": CHUNKED + b"2;\nxx\r\n{}\r\n0\r\n\r\n",
    "a carriage return in a chunk's extension": CHUNKED + b"2;a\rb\r\n{}\r\n0\r\n\r\n",
    "a carriage return behind a chunk's size": CHUNKED + b"2\r\r\n{}\r\n0\r\n\r\n",
    "a control character in a chunk's extension": CHUNKED + b"2;a\x01b\r\n{}\r\n0\r\n\r\n",
    "a bare line feed behind a chunk": CHUNKED + b"2\r\n{}\n0\r\n\r\n",
    "a bare line feed behind the last chunk": CHUNKED + b"2\r\n{}\r\n0\r\n\n",
    "a carriage return in the last chunk's extension": CHUNKED + b"2\r\n{}\r\n0;a\rb\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "a trailer that ends at bare line feeds": CHUNKED + b"2\r\n{}\r\n0\r\nX: y\n\n",
    "a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nX: y\r\n\r\n",
}

BEHIND = b"GET /v1/usage HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What would be another request, were the connection not closed."""


async def told(daemon: RunningDaemon, *parts: bytes) -> bytes:
    """All that is answered to *parts*, until the server closes the connection."""
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", daemon.resources.listener.getsockname()[1]) as stream:
        for part in parts:
            await stream.send_all(part)
        with trio.fail_after(20):
            while data := await stream.receive_some():
                answer += data
    return answer


async def test_what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(daemon: RunningDaemon) -> None:
    answers = {why: await told(daemon, sent + BEHIND) for why, sent in REFUSED.items()}

    assert {why: answer[:13] for why, answer in answers.items()} == dict.fromkeys(REFUSED, b"HTTP/1.1 400 ")
    assert [why for why, answer in answers.items() if b"connection: close" not in answer.lower()] == []
    assert [why for why, answer in answers.items() if answer.count(b"HTTP/1.1 ") > 1] == []
    assert {code_of(answer) for answer in answers.values()} == {"bad_request"}


def code_of(answer: bytes) -> str:
    """The code of a refusal, which must be of the contract's form."""
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


async def test_a_coding_that_is_not_chunked_is_refused(daemon: RunningDaemon) -> None:
    codings = [b"identity", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked;q=1"]
    asked = [POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n" for coding in codings]
    answers = [await told(daemon, one + BEHIND) for one in asked]

    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 501 "] * len(codings)
    assert [answer.count(b"HTTP/1.1 ") for answer in answers] == [1] * len(codings)


async def test_a_head_that_comes_in_small_parts_is_judged_as_if_it_came_at_once(daemon: RunningDaemon) -> None:
    sound = HEAD + b"Connection: close\r\nX:\t padded \t\r\nY: \xff\r\n\r\n"
    bad = HEAD + b"X: y\r\n z\r\n\r\n"
    answers = [
        await told(daemon, *(one[at : at + size] for at in range(0, len(one), size)))
        for size in (1, 7, 30)
        for one in (sound, bad)
    ]

    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200", b"HTTP/1.1 400"] * 3


def is_read(sent: bytes, size: int) -> bool:
    """Whether a message that comes in parts of *size* is taken to its end."""
    connection = StrictConnection(h11.SERVER)
    for at in range(0, len(sent), size):
        connection.receive_data(sent[at : at + size])
        try:
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.EndOfMessage):
                    return at + size >= len(sent)
        except h11.RemoteProtocolError:
            return False
    return False


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_chunks_that_come_in_small_parts_are_judged_as_if_they_came_at_once(size: int) -> None:
    whole = [b"2;a=b\r\n{}\r\n0\r\n\r\n", b"2;a\rb\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\n\n"]

    assert [is_read(CHUNKED + body, size) for body in whole] == [True, False, False]


READ = {
    "a length": POST + b"Connection: close\r\nContent-Length:2\r\n\r\n{}",
    "chunks": POST + b"Connection: close\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\n{}",
    "a URL": POST.replace(b" /", b" http://localhost/") + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",
}


async def test_what_can_be_read_in_one_way_only_is_read(daemon: RunningDaemon) -> None:
    answers = {why: await told(daemon, sent) for why, sent in READ.items()}

    assert {why: answer[:13] for why, answer in answers.items()} == dict.fromkeys(READ, b"HTTP/1.1 422 ")
    assert [why for why, answer in answers.items() if b"body.email" not in answer] == []


async def test_the_host_of_a_target_that_is_a_url_counts_and_not_the_field(daemon: RunningDaemon) -> None:
    wrong = await told(daemon, HEAD.replace(b" /", b" http://evil.example/") + b"Connection: close\r\n\r\n")
    right = b"GET http://localhost/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"

    assert wrong.startswith(b"HTTP/1.1 421 ")
    assert (await told(daemon, right)).startswith(b"HTTP/1.1 200 ")


def test_a_head_is_refused_as_soon_as_it_cannot_become_sound() -> None:
    assert is_sound(b"")
    assert is_sound(HEAD[:5])
    assert is_sound(HEAD + b"X: y\r")
    assert not is_sound(b"\x16\x03\x01")
    assert not is_sound(HEAD[:-2] + b"\n")


@pytest.mark.parametrize("name", ["Host", "Content-Length"])
@pytest.mark.parametrize("blank", [" ", "\t", "\r"], ids=repr)
def test_a_head_of_many_blanks_is_judged_in_no_time(name: str, blank: str) -> None:
    head = f"GET / HTTP/1.1\r\n{name}: x{blank * 16_000}y\r\n\r\n".encode()

    begun = time.thread_time()
    judged = is_sound(head)

    # By a pattern that tries each blank again it takes seconds.
    assert time.thread_time() - begun < 1.0
    assert not judged
