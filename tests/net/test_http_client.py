"""Our transport of httpx, in an ordinary `httpx.AsyncClient`, against a real receiver."""

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from cueapi.domain.attempt import ANSWER_LIMIT
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from cueapi.net.http_client import PinnedTransport
from tests.ports import free_port
from tests.receiver import Received, Step, open_receiver

OPEN = Rules(allow=Rules.parse_allow("127.0.0.0/8"))


def look_up(host: str) -> list[str]:
    if host != "handler.test":
        raise OSError(host)
    return ["127.0.0.1"]


@pytest.fixture
def transport() -> PinnedTransport:
    return PinnedTransport(OPEN, Resolver(look_up))


@pytest.fixture
async def client(transport: PinnedTransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=transport) as client:
        yield client


async def test_a_client_gets_and_posts_json_over_one_connection(client: httpx.AsyncClient) -> None:
    with trio.fail_after(10):
        async with open_receiver([(200, b'{"a": 1}', {"X-Own": "x"}), 201]) as receiver:
            got = await client.get(receiver.url("/a?b=c", "handler.test"))
            posted = await client.post(receiver.url("/b", "handler.test"), json={"ü": 1})

    first, second = receiver.requests
    assert (got.status_code, got.json(), got.headers["x-own"], got.http_version) == (200, {"a": 1}, "x", "HTTP/1.1")
    assert posted.status_code == 201
    assert (first.method, first.path, first.body, first.header("Content-Length")) == ("GET", "/a?b=c", b"", None)
    assert (second.method, second.body) == ("POST", '{"ü":1}'.encode())
    assert second.header("Content-Type") == "application/json"
    assert second.header("Content-Length") == "8"
    assert [received.connection for received in receiver.requests] == [0, 0]


async def test_an_answer_to_head_has_no_body(client: httpx.AsyncClient) -> None:
    with trio.fail_after(10):
        async with open_receiver([b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"]) as receiver:
            response = await client.head(receiver.url())

    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "7")


async def test_a_body_that_is_made_piece_by_piece_is_sent_whole(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    with trio.fail_after(10):
        async with open_receiver() as receiver:
            await client.put(receiver.url(), content=pieces())

    (received,) = receiver.requests
    assert (received.body, received.header("Content-Length")) == (b"one two", "7")
    assert received.header("Transfer-Encoding") is None


async def test_headers_that_belong_to_the_connection_are_its_own(client: httpx.AsyncClient) -> None:
    theirs = {"Host": "elsewhere.test", "Connection": "close", "TE": "trailers", "Upgrade": "h2c", "X-Own": "x"}
    with trio.fail_after(10):
        async with open_receiver() as receiver:
            for _ in range(2):
                await client.get(receiver.url("/", "handler.test"), headers=theirs)

    received = receiver.requests[1]
    assert received.header("Host") == f"handler.test:{receiver.port}"
    assert [received.header(name) for name in ("Connection", "TE", "Upgrade", "X-Own")] == [None, None, None, "x"]
    assert received.connection == 0


async def test_a_redirect_is_an_answer(client: httpx.AsyncClient) -> None:
    with trio.fail_after(10):
        async with open_receiver({"/a": [(302, b"", {"Location": "/b"})]}) as receiver:
            response = await client.get(receiver.url("/a"))

    assert (response.status_code, response.headers["location"]) == (302, "/b")
    assert len(receiver.requests) == 1


async def test_a_client_that_follows_redirects_is_led_to_no_forbidden_address(client: httpx.AsyncClient) -> None:
    with trio.fail_after(10):
        async with open_receiver([(302, b"", {"Location": "http://10.0.0.1/"})]) as receiver:
            with pytest.raises(httpx.ConnectError, match=r"10\.0\.0\.1 is a private address"):
                await client.get(receiver.url(), follow_redirects=True)

    assert len(receiver.requests) == 1


async def test_an_answer_that_is_too_long_is_cut_and_says_so(client: httpx.AsyncClient) -> None:
    steps = [(200, b"x" * ANSWER_LIMIT), "huge", 200]
    with trio.fail_after(10):
        async with open_receiver(steps) as receiver:
            whole, cut, after = [await client.get(receiver.url()) for _ in steps]

    assert (len(whole.content), whole.extensions["cut"]) == (ANSWER_LIMIT, False)
    assert (len(cut.content), cut.extensions["cut"]) == (ANSWER_LIMIT, True)
    assert (len(after.content), after.extensions["cut"]) == (0, False)
    assert [received.connection for received in receiver.requests] == [0, 0, 1]


async def test_a_client_unpacks_what_is_packed_and_the_transport_does_not(
    client: httpx.AsyncClient, transport: PinnedTransport
) -> None:
    packed = gzip.compress(b"plain")
    with trio.fail_after(10):
        async with open_receiver([(200, packed, {"Content-Encoding": "gzip"})]) as receiver:
            unpacked = await client.get(receiver.url())
            untouched = await transport.handle_async_request(httpx.Request("GET", receiver.url()))

    assert unpacked.content == b"plain"
    assert [part async for part in untouched.aiter_raw()] == [packed]


@pytest.mark.parametrize(
    ("step", "kind", "reason"),
    [
        ("close", httpx.RemoteProtocolError, "127.0.0.1 port {port} closed the connection without an answer"),
        ("reset", httpx.RemoteProtocolError, "127.0.0.1 port {port} closed the connection without an answer"),
        ("garbage", httpx.RemoteProtocolError, "invalid HTTP answer from 127.0.0.1 port {port}"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            httpx.RemoteProtocolError,
            "the answer of 127.0.0.1 port {port} broke off",
        ),
    ],
    ids=["close", "reset", "garbage", "half"],
)
async def test_what_a_server_does_wrong_is_an_exception_of_httpx_and_a_sentence(
    client: httpx.AsyncClient, step: Step, kind: type[httpx.TransportError], reason: str
) -> None:
    with trio.fail_after(10):
        async with open_receiver([step]) as receiver:
            with pytest.raises(kind) as raised:
                await client.post(receiver.url(), json={})

    assert str(raised.value) == reason.format(port=receiver.port)
    assert raised.value.request.method == "POST"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://10.0.0.1/", "10.0.0.1 is a private address; the operator can open it with CALLBACK_ALLOW=10.0.0.1"),
        ("http://nothing.test/", "the name nothing.test does not resolve"),
        ("http://me:secret@handler.test/", "the URL must not hold a user name or password"),
        ("ftp://handler.test/", "the URL must begin with http:// or https://"),
    ],
)
async def test_what_the_rules_forbid_is_not_connected_to(client: httpx.AsyncClient, url: str, reason: str) -> None:
    with trio.fail_after(10), pytest.raises(httpx.ConnectError) as raised:
        await client.get(url)

    assert str(raised.value) == reason


async def test_a_refused_connection_is_a_connect_error(client: httpx.AsyncClient) -> None:
    port = free_port()
    with trio.fail_after(10), pytest.raises(httpx.ConnectError) as raised:
        await client.get(f"http://handler.test:{port}/")

    assert str(raised.value) == f"connection refused by handler.test port {port}"


async def test_the_deadline_is_the_caller_s_scope(client: httpx.AsyncClient) -> None:
    with trio.fail_after(10):
        async with open_receiver(["hang", 200]) as receiver:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.get, receiver.url())
                    await receiver.wait_for(1)
                    scope.deadline = trio.current_time()
            after = await client.get(receiver.url())

    assert scope.cancelled_caught
    assert after.status_code == 200
    assert [received.connection for received in receiver.requests] == [0, 1]


async def test_what_comes_before_the_first_byte_is_awaited_on_each_connection_that_a_request_is_sent_on(
    client: httpx.AsyncClient,
) -> None:
    events: list[str] = []

    def note(received: Received) -> None:
        events.append(received.path)

    async def ask() -> None:
        await trio.lowlevel.checkpoint()
        events.append("asked")

    with trio.fail_after(10):
        async with open_receiver([200, "close", 200], seen=note) as receiver:
            for path in ("/1", "/2"):
                await client.get(receiver.url(path), extensions={"on_send": ask})

    assert events == ["asked", "/1", "asked", "/2", "asked", "/2"]


class TestExactRequests:
    """Requests that the transport writes itself: the URL goes out as it was written."""

    @pytest.mark.parametrize("path", ["/a/../b?", "/{a}|`^", "/%zz?q='\"<>", "//a/./b"])
    async def test_nothing_of_a_url_is_rewritten(self, transport: PinnedTransport, path: str) -> None:
        with trio.fail_after(10):
            async with open_receiver() as receiver:
                answer = await transport.send("POST", receiver.url(path), [("X-Own", "ü")], b"x")
        await transport.aclose()

        assert answer.status == 200
        assert [(received.path, received.body) for received in receiver.requests] == [(path, b"x")]
        assert {name for name, _ in receiver.requests[0].headers} == {"Host", "X-Own", "Content-Length"}

    @pytest.mark.parametrize(
        ("url", "value", "reason"),
        [
            ("http://10.0.0.1/", "x", "10.0.0.1 is a private address"),
            ("http://handler.test/", "€", "the request cannot be written"),
        ],
        ids=["forbidden", "unwritable"],
    )
    async def test_a_request_that_cannot_be_sent_connects_to_nothing(
        self, transport: PinnedTransport, url: str, value: str, reason: str
    ) -> None:
        with pytest.raises(httpx.TransportError) as raised:
            await transport.send("POST", url, [("X", value)], b"")

        assert str(raised.value).startswith(reason)

    async def test_a_header_that_http_does_not_know_is_not_sent(self, client: httpx.AsyncClient) -> None:
        with trio.fail_after(10):
            async with open_receiver() as receiver:
                with pytest.raises(httpx.LocalProtocolError, match=r"^the request cannot be written: "):
                    await client.get(receiver.url(), headers={"X Own": "x"})

        assert receiver.requests == []
