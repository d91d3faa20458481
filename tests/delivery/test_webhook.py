"""One signed, pinned request, against a real receiver."""

import gzip
import socket
import ssl
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import pytest
import trio
import trio.testing
import trustme
from attrs import evolve
from standardwebhooks import Webhook as Verifier

from cueapi.delivery.webhook import Outgoing, Webhook
from cueapi.domain.attempt import ANSWER_LIMIT, Answered, Delivery, Postponed, Unreachable
from cueapi.domain.signature import canonical_body
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from cueapi.net.http_client import IdleConnections
from tests.receiver import GARBAGE, Step, open_receiver
from tests.scarcity import no_file_left

SECRET = "whsec_" + "0123456789abcdef" * 4
OPEN = Rules(allow=Rules.parse_allow("127.0.0.0/8"))
AUTHORITY = trustme.CA()
LOOPBACK = {"handler.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}


def look_up(host: str) -> list[str]:
    if host not in LOOPBACK:
        raise OSError(host)
    return LOOPBACK[host]


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def serving(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    with Webhook(OPEN, Resolver(look_up), tls=trusting()) as webhook:
        yield webhook


def delivery_to(url: str, *, timeout: float = 5.0, method: str = "POST") -> Delivery:
    scheduled_for = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    body = canonical_body(
        execution_id=UUID(int=7),
        cue_id="cue_abcdefghijkl",
        name="n",
        scheduled_for=scheduled_for,
        attempt=1,
        payload={"a": "ü"},
    )
    return Delivery(
        UUID(int=7),
        "cue_abcdefghijkl",
        "n",
        1,
        UUID(int=1),
        1,
        scheduled_for,
        method,
        url,
        {"X-Own": "1"},
        body,
        (SECRET,),
        "http://cueapi.test/v1/report/run_token",
        timeout,
        "handler.test",
    )


async def test_a_handler_can_verify_the_request_and_its_answer_comes_back(webhook: Webhook) -> None:
    answer = b'{"success": true}'
    with trio.fail_after(10):
        async with open_receiver([(200, answer, {"Retry-After": "7"})]) as receiver:
            delivery = delivery_to(receiver.url("/a%20b?c=d#e", "handler.test"))

            assert await webhook.attempt(delivery) == Answered(200, answer, retry_after="7")

    received = receiver.requests[0]
    assert (received.method, received.path, received.body) == ("POST", "/a%20b?c=d", delivery.body)
    assert received.header("Host") == f"handler.test:{receiver.port}"
    assert received.header("X-Own") == "1"
    assert received.header("Content-Length") == str(len(delivery.body))
    assert Verifier(SECRET).verify(received.body, dict(received.headers))
    assert abs(int(received.header("X-CueAPI-Timestamp") or 0) - time.time()) < 10


async def test_get_sends_no_body(webhook: Webhook) -> None:
    with trio.fail_after(10):
        async with open_receiver() as receiver:
            assert await webhook.attempt(delivery_to(receiver.url(), method="GET")) == Answered(200)

    received = receiver.requests[0]
    assert (received.method, received.body, received.header("Content-Length")) == ("GET", b"", None)


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (204, 204),
        (500, 500),
        ((302, b"", {"Location": "/elsewhere"}), 302),
        ((302, b"", {"Location": "http://10.0.0.1/"}), 302),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", 201),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 101),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101\r\n\r\n", 101),
    ],
)
async def test_every_status_is_an_answer_and_redirects_are_not_followed(
    webhook: Webhook, step: Step, status: int
) -> None:
    with trio.fail_after(10):
        async with open_receiver([step]) as receiver:
            answered = await webhook.attempt(delivery_to(receiver.url()))

    assert isinstance(answered, Answered)
    assert answered.status == status
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("close", "127.0.0.1 port {port} closed the connection without an answer"),
        ("reset", "127.0.0.1 port {port} closed the connection without an answer"),
        ("garbage", "invalid HTTP answer from 127.0.0.1 port {port}"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            "the answer of 127.0.0.1 port {port} broke off",
        ),
        (b"HTTP/1.1 200 OK\r\nx: ", "invalid HTTP answer from 127.0.0.1 port {port}"),
        (
            b"HTTP/1.1 103 Early Hints\r\nx: " + b"x" * 100_000,
            "invalid HTTP answer from 127.0.0.1 port {port}: no end of headers",
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20_000,
            "invalid HTTP answer from 127.0.0.1 port {port}: no end of headers",
        ),
    ],
    ids=["close", "reset", "garbage", "half", "half-head", "long-head", "endless-103"],
)
async def test_every_way_to_fail_is_a_sentence(webhook: Webhook, step: Step, reason: str) -> None:
    with trio.fail_after(10):
        async with open_receiver([step]) as receiver:
            result = await webhook.attempt(delivery_to(receiver.url()))

    assert result == Unreachable(reason.format(port=receiver.port))
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("step", ["hang", "drip"])
async def test_the_deadline_covers_the_whole_answer(webhook: Webhook, step: str) -> None:
    with trio.fail_after(10):
        async with open_receiver([step]) as receiver:
            result = await webhook.attempt(delivery_to(receiver.url(), timeout=0.5))

    assert result == Unreachable("no answer within 0.5 s")


async def test_a_refused_connection_says_which_host_refused(webhook: Webhook) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with trio.fail_after(10):
            result = await webhook.attempt(delivery_to(f"http://handler.test:{port}/"))

    assert result == Unreachable(f"connection refused by handler.test port {port}")


async def test_a_name_that_does_not_resolve_says_so(webhook: Webhook) -> None:
    with trio.fail_after(10):
        result = await webhook.attempt(delivery_to("http://nothing.test/"))

    assert result == Unreachable("the name nothing.test does not resolve")


async def test_the_deadline_covers_the_look_up() -> None:
    with Webhook(OPEN, Resolver(lambda host: [time.sleep(0.5), "127.0.0.1"][1:])) as webhook:
        with trio.fail_after(5):
            result = await webhook.attempt(delivery_to("http://slow.test/", timeout=0.1))

    assert result == Unreachable("no answer within 0.1 s")


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://2130706433/", "http://localhost/", "ftp://a"])
async def test_a_url_that_is_no_longer_allowed_is_not_called(url: str) -> None:
    with Webhook(Rules(), Resolver(look_up)) as webhook:
        result = await webhook.attempt(delivery_to(url))

    assert isinstance(result, Unreachable)


async def test_a_name_that_is_rebound_to_a_private_address_is_not_called() -> None:
    now, answers = [0.0], [["127.0.0.1"], ["127.0.0.1", "10.0.0.1"]]
    resolver = Resolver(lambda host: answers.pop(0), clock=lambda: now[0])
    with trio.fail_after(10), Webhook(OPEN, resolver) as webhook:
        async with open_receiver() as receiver:
            delivery = delivery_to(receiver.url("/", "rebound.test"))
            assert await webhook.attempt(delivery) == Answered(200)
            now[0] = 5.0

            assert await webhook.attempt(delivery) == Unreachable(
                "rebound.test (10.0.0.1) is a private address; "
                "the operator can open it with CALLBACK_ALLOW=rebound.test",
                refused=True,
            )

    assert len(receiver.requests) == 1


async def test_a_kept_connection_is_not_used_when_the_name_moved_to_another_address() -> None:
    now, answers = [0.0], [["127.0.0.1"], ["127.0.0.2"]]
    resolver = Resolver(lambda host: answers.pop(0), clock=lambda: now[0])
    with trio.fail_after(10), Webhook(OPEN, resolver) as webhook:
        async with open_receiver() as receiver:
            delivery = delivery_to(receiver.url("/", "moved.test"))
            assert await webhook.attempt(delivery) == Answered(200)
            now[0] = 5.0

            assert await webhook.attempt(delivery) == Unreachable(
                f"connection refused by moved.test port {receiver.port}"
            )


async def test_when_an_address_refuses_the_next_one_is_used(webhook: Webhook) -> None:
    LOOPBACK["two.test"] = ["127.0.0.2", "127.0.0.1"]
    with trio.fail_after(10):
        async with open_receiver() as receiver:
            assert await webhook.attempt(delivery_to(receiver.url("/", "two.test"))) == Answered(200)


async def test_a_connection_serves_again_for_the_same_host_only(webhook: Webhook) -> None:
    with trio.fail_after(10):
        async with open_receiver() as receiver:
            for host in ("handler.test", "handler.test", "other.test", "handler.test", "127.0.0.1"):
                assert await webhook.attempt(delivery_to(receiver.url("/", host))) == Answered(200)

    assert [received.connection for received in receiver.requests] == [0, 0, 1, 0, 2]


async def test_a_connection_is_not_used_when_it_is_too_old() -> None:
    idle = IdleConnections(reused_for=0.0)
    with trio.fail_after(10), Webhook(OPEN, Resolver(look_up), idle=idle) as webhook:
        async with open_receiver() as receiver:
            for _ in range(2):
                await webhook.attempt(delivery_to(receiver.url()))

    assert [received.connection for received in receiver.requests] == [0, 1]
    assert IdleConnections().reused_for == 60


async def test_idle_connections_are_kept_up_to_the_limit() -> None:
    with trio.fail_after(10), Webhook(OPEN, Resolver(look_up), idle=IdleConnections(limit=1)) as webhook:
        async with open_receiver() as receiver:
            for host in ("handler.test", "other.test", "other.test", "handler.test"):
                await webhook.attempt(delivery_to(receiver.url("/", host)))

    assert [received.connection for received in receiver.requests] == [0, 1, 2, 0]


async def test_a_kept_connection_that_was_closed_does_not_fail_the_attempt(webhook: Webhook) -> None:
    with trio.fail_after(10):
        async with open_receiver([200, "close", 200, "reset", 200]) as receiver:
            for _ in range(3):
                assert await webhook.attempt(delivery_to(receiver.url())) == Answered(200)

    assert [received.connection for received in receiver.requests] == [0, 0, 1, 1, 2]


async def test_a_request_is_sent_again_once_and_only_if_no_byte_of_an_answer_came(webhook: Webhook) -> None:
    with trio.fail_after(10):
        async with open_receiver([200, "close", "close", 200, b"HTTP/1.1 2", 200]) as receiver:
            results = [await webhook.attempt(delivery_to(receiver.url())) for _ in range(4)]

    assert [type(result) for result in results] == [Answered, Unreachable, Answered, Unreachable]
    assert len(receiver.requests) == 5


async def test_an_answer_is_read_to_64_kib_and_the_connection_dropped(webhook: Webhook) -> None:
    with trio.fail_after(10):
        async with open_receiver(
            [(200, b"x" * ANSWER_LIMIT), (200, b"x" * (ANSWER_LIMIT + 1)), "huge", 200]
        ) as receiver:
            whole, cut, huge, after = [await webhook.attempt(delivery_to(receiver.url())) for _ in range(4)]

    assert whole == Answered(200, b"x" * ANSWER_LIMIT)
    assert cut == huge == Answered(200, b"x" * ANSWER_LIMIT, cut=True)
    assert after == Answered(200)
    assert [received.connection for received in receiver.requests] == [0, 0, 1, 2]


async def test_no_coding_of_an_answer_is_asked_for(webhook: Webhook) -> None:
    with trio.fail_after(10):
        async with open_receiver() as receiver:
            await webhook.attempt(delivery_to(receiver.url()))

    assert receiver.requests[0].header("Accept-Encoding") == "identity"


async def test_a_body_of_a_mebibyte_arrives(webhook: Webhook) -> None:
    body = b"x" * 1_048_576
    with trio.fail_after(10):
        async with open_receiver() as receiver:
            posted = Outgoing("POST", receiver.url(), [("X-CueAPI-Alert-Id", "a")], body, 5.0)
            assert await webhook.post(posted) == Answered(200)

    assert receiver.requests[0].body == body
    assert receiver.requests[0].header("X-CueAPI-Alert-Id") == "a"


async def test_cookies_and_proxies_of_the_environment_are_ignored(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with trio.fail_after(10):
        async with open_receiver([(200, b"", {"Set-Cookie": "a=b"})]) as receiver:
            for _ in range(2):
                assert await webhook.attempt(delivery_to(receiver.url())) == Answered(200)

    assert receiver.requests[1].header("Cookie") is None


async def test_the_moment_of_sending_is_told_once_an_attempt() -> None:
    sent: list[Delivery] = []
    with trio.fail_after(10), Webhook(OPEN, Resolver(look_up), sent=sent.append) as webhook:
        async with open_receiver([200, "close", 200]) as receiver:
            first, second = delivery_to(receiver.url("/1")), delivery_to(receiver.url("/2"))
            await webhook.attempt(first)
            await webhook.attempt(second)
            await webhook.attempt(evolve(first, url="http://nothing.test/"))

    assert sent == [first, second]
    assert len(receiver.requests) == 3


async def test_an_attempt_tells_when_its_request_went_out_and_when_its_answer_began(webhook: Webhook) -> None:
    with trio.fail_after(10):
        async with open_receiver([0.2]) as receiver:
            answered = await webhook.attempt(delivery_to(receiver.url()), partial(trio.sleep, 0.05))

    assert isinstance(answered, Answered)
    assert answered.sent_after is not None
    assert answered.first_byte_after is not None
    assert answered.sent_after >= 0.05
    assert answered.first_byte_after >= answered.sent_after + 0.2


@pytest.mark.parametrize(
    ("step", "is_sent", "begins"), [("hang", True, False), ("drip", True, True), (None, False, False)]
)
async def test_an_attempt_without_an_answer_tells_how_far_it_came(
    webhook: Webhook, step: Step | None, is_sent: bool, begins: bool
) -> None:
    with trio.fail_after(10):
        async with open_receiver([step or 200]) as receiver:
            url = receiver.url() if step else "http://127.0.0.1:9/"
            failed = await webhook.attempt(delivery_to(url, timeout=0.8))

    assert isinstance(failed, Unreachable)
    assert (failed.sent_after is not None, failed.first_byte_after is not None) == (is_sent, begins)


async def test_a_request_that_is_sent_again_went_out_when_it_did_so_for_the_last_time(webhook: Webhook) -> None:
    moments: list[float] = []

    async def confirm() -> None:
        await trio.sleep(0.02)
        moments.append(trio.current_time())

    with trio.fail_after(10):
        async with open_receiver([200, "close", 200]) as receiver:
            await webhook.attempt(delivery_to(receiver.url()))
            begun = trio.current_time()
            again = await webhook.attempt(delivery_to(receiver.url()), confirm)

    assert isinstance(again, Answered)
    assert again.sent_after is not None
    assert len(moments) == 2
    assert again.sent_after >= 0.04
    assert begun + again.sent_after >= moments[-1] - 0.02


async def test_the_connection_of_an_attempt_that_was_cancelled_is_not_used_again(webhook: Webhook) -> None:
    with trio.fail_after(10):
        async with open_receiver(["hang", 200]) as receiver:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(webhook.attempt, delivery_to(receiver.url()))
                await receiver.wait_for(1)
                nursery.cancel_scope.cancel()
            assert await webhook.attempt(delivery_to(receiver.url())) == Answered(200)

    assert [received.connection for received in receiver.requests] == [0, 1]


class TestTls:
    async def test_the_name_stays_the_name_though_the_address_is_pinned(self, webhook: Webhook) -> None:
        seen: list[str] = []
        tls = serving("handler.test")
        tls.sni_callback = lambda sslobject, name, context: seen.append(name)
        with trio.fail_after(10):
            async with open_receiver(tls=tls) as receiver:
                for _ in range(2):
                    assert await webhook.attempt(delivery_to(receiver.url("/", "handler.test"))) == Answered(200)

        assert seen == ["handler.test"]
        assert receiver.requests[0].header("Host") == f"handler.test:{receiver.port}"

    async def test_an_address_with_a_certificate_is_called(self, webhook: Webhook) -> None:
        with trio.fail_after(10):
            async with open_receiver(tls=serving("127.0.0.1")) as receiver:
                assert await webhook.attempt(delivery_to(receiver.url())) == Answered(200)

    async def test_a_certificate_of_another_name_says_so(self, webhook: Webhook) -> None:
        result, port = await self._attempt(webhook, serving("other.test"))

        assert isinstance(result, Unreachable)
        assert result.reason.startswith(f"the certificate of handler.test port {port} is not valid: ")
        assert "ostname mismatch" in result.reason

    async def test_a_certificate_of_an_unknown_authority_says_so(self) -> None:
        with Webhook(OPEN, Resolver(look_up)) as webhook:
            result, _ = await self._attempt(webhook, serving("handler.test"))

        assert isinstance(result, Unreachable)
        assert "is not valid: unable to get local issuer certificate" in result.reason

    async def test_a_server_without_tls_says_so(self, webhook: Webhook) -> None:
        with trio.fail_after(10):
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, _say_garbage, listeners)
                result = await webhook.attempt(delivery_to(f"https://handler.test:{port}/"))
                nursery.cancel_scope.cancel()

        assert isinstance(result, Unreachable)
        assert result.reason.startswith(f"no TLS with handler.test port {port}: ")

    async def test_a_server_that_hangs_up_in_the_handshake_says_so(self, webhook: Webhook) -> None:
        with trio.fail_after(10):
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, _hang_up, listeners)
                result = await webhook.attempt(delivery_to(f"https://handler.test:{port}/"))
                nursery.cancel_scope.cancel()

        assert result == Unreachable(f"handler.test port {port} closed the connection during the TLS handshake")

    async def _attempt(self, webhook: Webhook, tls: ssl.SSLContext) -> tuple[object, int]:
        with trio.fail_after(10):
            listeners = await trio.open_ssl_over_tcp_listeners(0, tls, host="127.0.0.1")
            port = listeners[0].transport_listener.socket.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, _shake_hands, listeners)
                result = await webhook.attempt(delivery_to(f"https://handler.test:{port}/"))
                nursery.cancel_scope.cancel()
        return result, port


async def _shake_hands(stream: trio.SSLStream[trio.SocketStream]) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await stream.do_handshake()


async def _say_garbage(stream: trio.SocketStream) -> None:
    await stream.send_all(GARBAGE)
    await stream.receive_some(65536)


async def _hang_up(stream: trio.SocketStream) -> None:
    await stream.receive_some(65536)
    await stream.aclose()


Serve = Callable[[trio.SocketStream], Awaitable[None]]

ANSWER = b'HTTP/1.1 %s\r\nContent-Length: 18\r\n\r\n{"success": false}'


async def _answer_by_the_head(stream: trio.SocketStream) -> None:
    """A server that reads a first piece of the request, answers, and never reads on."""
    await stream.receive_some(1_000)
    await stream.send_all(ANSWER % b"200 OK")
    await trio.sleep_forever()


async def _refuse_by_the_head(stream: trio.SocketStream) -> None:
    """A server that refuses a large body and hangs up."""
    await stream.receive_some(1_000)
    await stream.send_all(ANSWER % b"413 Too Large")
    await stream.aclose()


async def _reset_after_the_answer(stream: trio.SocketStream) -> None:
    """A server that answers and hangs up while the body still comes: the system resets the connection."""
    await stream.receive_some(1_000)
    await stream.send_all(ANSWER % b"200 OK")
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def _answer_after_interim_answers(stream: trio.SocketStream) -> None:
    """A server that says that it is busy, answers, and reads no further."""
    await stream.receive_some(1_000)
    await stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n" * 3)
    await stream.send_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ANSWER % b"422 No")
    await trio.sleep_forever()


EARLY: dict[str, tuple[Serve, int]] = {
    "it reads no further": (_answer_by_the_head, 200),
    "it hangs up": (_refuse_by_the_head, 413),
    "it resets": (_reset_after_the_answer, 200),
    "interim answers": (_answer_after_interim_answers, 422),
}


@pytest.mark.parametrize("size", [20_000, 200_000, 1_048_576, 8_000_000])
@pytest.mark.parametrize(("serve", "status"), EARLY.values(), ids=EARLY)
async def test_an_answer_that_comes_before_the_body_was_sent_is_read(
    webhook: Webhook, serve: Serve, status: int, size: int
) -> None:
    with trio.fail_after(20):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, listeners)
            body = b"x" * size
            results = [
                await webhook.post(Outgoing("POST", f"http://127.0.0.1:{port}/", [], body, 15.0)) for _ in range(2)
            ]
            nursery.cancel_scope.cancel()

    assert results == [Answered(status, b'{"success": false}')] * 2


async def test_a_server_that_sends_no_answer_and_reads_nothing_ends_at_the_deadline(webhook: Webhook) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    with trio.fail_after(20):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, listeners)
            result = await webhook.post(Outgoing("POST", f"http://127.0.0.1:{port}/", [], b"x" * 8_000_000, 0.5))
            nursery.cancel_scope.cancel()

    assert result == Unreachable("no answer within 0.5 s")


MEMBERS = gzip.compress(b'{"success": ') + gzip.compress(b"") + gzip.compress(b"false}")

PACKED = {
    "gzip": (b"gzip", gzip.compress(b'{"success": false}'), None),
    "deflate": (b"deflate", zlib.compress(b'{"success": false}'), None),
    "gzip in several members": (b"gzip", MEMBERS, None),
    "gzip filled up with zeros": (b"x-gzip", MEMBERS + bytes(512), None),
    "gzip that is cut": (b"gzip", gzip.compress(b'{"success": false}')[:-9], "gzip"),
    "gzip whose last member is cut": (b"gzip", MEMBERS[:-1], "gzip"),
    "gzip with a text behind it": (b"gzip", MEMBERS + b"{}", "gzip"),
    "deflate that is cut": (b"deflate", zlib.compress(b'{"success": false}')[:-5], "deflate"),
    "gzip in capitals": (b"GZIP", gzip.compress(b'{"success": false}'), None),
    "a coding that is not known": (b"br", b"\x0b\x08\x80", "br"),
    "two codings": (b"gzip, gzip", gzip.compress(gzip.compress(b"{}")), "gzip, gzip"),
    "what is not packed": (b"gzip", b'{"success": false}', "gzip"),
}


@pytest.mark.parametrize(("coding", "content", "packed"), PACKED.values(), ids=PACKED.keys())
async def test_an_answer_that_comes_packed_is_unpacked_or_named(
    webhook: Webhook, coding: bytes, content: bytes, packed: str | None
) -> None:
    async with open_receiver([(200, content, {"Content-Encoding": coding.decode()})]) as receiver:
        result = await webhook.attempt(delivery_to(receiver.url()))

    assert isinstance(result, Answered)
    assert (result.packed, result.cut) == (packed, False)
    assert result.body == (b'{"success": false}' if packed is None else content)


async def test_a_packed_answer_is_unpacked_within_the_bounds(webhook: Webhook) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    async with open_receiver([(200, bomb[:60_000], {"Content-Encoding": "gzip"})]) as receiver:
        result = await webhook.attempt(delivery_to(receiver.url()))

    assert isinstance(result, Answered)
    assert (len(result.body), result.cut) == (ANSWER_LIMIT, True)


@pytest.mark.parametrize(
    ("size", "is_cut"), [(ANSWER_LIMIT, False), (ANSWER_LIMIT + 1, True)], ids=["all that is read", "a byte more"]
)
async def test_the_members_of_a_packed_answer_are_bounded_together(
    webhook: Webhook, *, size: int, is_cut: bool
) -> None:
    packed = gzip.compress(b"x" * 60_000) + gzip.compress(b"x" * (size - 60_000))
    async with open_receiver([(200, packed, {"Content-Encoding": "gzip"})]) as receiver:
        result = await webhook.attempt(delivery_to(receiver.url()))

    assert result == Answered(200, b"x" * ANSWER_LIMIT, cut=is_cut)


async def test_an_empty_answer_that_is_called_packed_is_an_empty_answer(webhook: Webhook) -> None:
    async with open_receiver([(200, b"", {"Content-Encoding": "gzip"})]) as receiver:
        assert await webhook.attempt(delivery_to(receiver.url())) == Answered(200)


@pytest.mark.parametrize("host", ["127.0.0.1", "handler.test"])
async def test_an_attempt_that_we_have_no_descriptor_for_is_postponed(host: str) -> None:
    with trio.fail_after(20), Webhook(OPEN, Resolver(look_up)) as webhook:
        async with open_receiver() as receiver:
            with no_file_left():
                short = await webhook.attempt(delivery_to(receiver.url("/", host)))
            after = await webhook.attempt(delivery_to(receiver.url("/", host)))

    assert short == Postponed("too many open files")
    assert after == Answered(200)
