"""A process that did not run for a while: whose fault it is that no answer came."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.lowlevel
import trio.testing
from attrs import evolve

from cueapi.delivery.standstill import NOTICED, Standstills, stood_still
from cueapi.delivery.webhook import Outgoing, Webhook
from cueapi.domain.attempt import Answered, Interrupted, Result, Unreachable, evaluate_attempt
from cueapi.domain.execution import LOST_CLAIMS_ALLOWED, Status
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from tests.delivery.deliveries import delivery_of
from tests.receiver import open_receiver
from tests.storage.rows import ago

OPEN = Rules(allow=Rules.parse_allow("127.0.0.0/8"))


@pytest.mark.parametrize(
    ("lost", "late", "ours"),
    [(0.0, 0.0, False), (0.0, 0.5, False), (NOTICED, 0.0, True), (0.0, NOTICED, True), (600.0, 600.0, True)],
    ids=["in time", "a busy machine", "lost before the deadline", "far beyond the deadline", "both"],
)
def test_an_attempt_without_an_answer_is_the_handlers_failure_unless_we_stood_still(
    lost: float, late: float, *, ours: bool
) -> None:
    assert stood_still(lost=lost, deadline=100.0, now=100.0 + late) is ours


async def test_a_beat_that_comes_late_tells_how_much_was_lost() -> None:
    standstills = Standstills()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(standstills.watch)
            await trio.testing.wait_all_tasks_blocked()
            before = standstills.lost()
            time.sleep(NOTICED + 0.6)
            during = standstills.lost()
            await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            after = standstills.lost()
            nursery.cancel_scope.cancel()

    assert before == 0.0
    assert NOTICED <= during <= after


Act = Callable[[socket.socket], None]


@contextmanager
def handler(act: Act) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """
    Does *act* to one request in a thread that runs whatever our loop does.

    The first event says that the head of the request has come; the second has the handler act, after a moment in which
    our loop may begin to stand still.
    """
    came, go, over = threading.Event(), threading.Event(), threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            came.set()
            go.wait()
            time.sleep(0.1)
            act(connection)
            over.wait()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", came, go
        go.set()
        over.set()
        thread.join()


def answering(body: bytes | None) -> Act:
    """Answers; None: never."""

    def act(connection: socket.socket) -> None:
        if body is not None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return act


def giving_up(said: bytes, *, reset: bool = False) -> Act:
    """Says that and hangs up."""

    def act(connection: socket.socket) -> None:
        connection.sendall(said)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return act


TIMEOUT = 0.6
LONG = b"x" * 60_000


@pytest.mark.parametrize(
    ("request_body", "answer", "result"),
    [
        (b"{}", b"in time", Answered(200, b"in time")),
        (b"{}", LONG, Answered(200, LONG)),
        (b"x" * 8_000_000, LONG, Answered(200, LONG)),
        (b"{}", None, Interrupted()),
    ],
    ids=["a short answer", "an answer of many reads", "while the request was being sent", "no answer"],
)
async def test_after_a_standstill_an_answer_that_has_arrived_is_read_though_the_deadline_has_passed(
    request_body: bytes, answer: bytes | None, result: Result
) -> None:
    made: list[Result] = []
    with trio.fail_after(30), Webhook(OPEN, Resolver()) as webhook, handler(answering(answer)) as (url, came, go):

        async def post() -> None:
            made.append(await webhook.post(Outgoing("POST", url, [], request_body, TIMEOUT)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(post)
            while not came.is_set():
                await trio.sleep(0.001)  # the handler's thread has its turns
            go.set()
            time.sleep(TIMEOUT + NOTICED + 0.1)

    assert made == [result]


LARGE = b"x" * 8_000_000
GIVING_UP: dict[str, tuple[bytes, Act, int | None]] = {
    "it resets": (LARGE, giving_up(b"", reset=True), None),
    "it closes": (LARGE, giving_up(b""), None),
    "it closes after a whole request": (b"{}", giving_up(b""), None),
    "its answer breaks off": (LARGE, giving_up(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), None),
    "it says that it has waited too long": (
        LARGE, giving_up(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"), 408,
    ),
}  # fmt: skip


@pytest.mark.parametrize("stands_still", [True, False], ids=["we stand still", "we run"])
@pytest.mark.parametrize(("request_body", "act", "status"), GIVING_UP.values(), ids=GIVING_UP)
async def test_a_handler_that_gives_up_before_the_deadline_has_failed_unless_we_stood_still(
    request_body: bytes, act: Act, status: int | None, *, stands_still: bool
) -> None:
    made: list[Result] = []
    with trio.fail_after(60), Webhook(OPEN, Resolver()) as webhook, handler(act) as (url, came, go):
        async with trio.open_nursery() as nursery:
            if stands_still:
                nursery.start_soon(webhook.standstills.watch)
                await trio.testing.wait_all_tasks_blocked()

            async def post() -> None:
                made.append(await webhook.post(Outgoing("POST", url, [], request_body, 50.0)))
                nursery.cancel_scope.cancel()

            nursery.start_soon(post)
            while not came.is_set():
                await trio.lowlevel.checkpoint()
            go.set()
            if stands_still:
                time.sleep(NOTICED + 0.6)

    [result] = made
    assert isinstance(result, Interrupted) is stands_still
    if not stands_still:
        assert isinstance(result, Answered if status else Unreachable)


async def test_an_answer_of_a_failure_counts_though_we_stood_still() -> None:
    made: list[Result] = []
    refusing = giving_up(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    with trio.fail_after(30), Webhook(OPEN, Resolver()) as webhook, handler(refusing) as (url, came, go):

        async def post() -> None:
            made.append(await webhook.post(Outgoing("POST", url, [], LARGE, TIMEOUT)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(post)
            while not came.is_set():
                await trio.lowlevel.checkpoint()
            go.set()
            time.sleep(TIMEOUT + NOTICED + 0.1)

    assert made == [Answered(500)]


async def test_a_handler_that_hangs_while_we_run_times_out() -> None:
    with trio.fail_after(30), Webhook(OPEN, Resolver()) as webhook:
        async with open_receiver(["hang"]) as receiver:
            result = await webhook.post(Outgoing("POST", receiver.url(), [], b"{}", 0.2))

    assert result == Unreachable("no answer within 0.2 s")


def test_an_interrupted_attempt_is_made_again_and_counts_as_failed_only_after_five_in_a_row() -> None:
    made = [
        evaluate_attempt(evolve(delivery_of(), lost_claims=lost), Interrupted(), duration=1.0, now=ago())
        for lost in range(LOST_CLAIMS_ALLOWED)
    ]

    assert [(one.status, one.released, one.alert) for one in made] == [
        *[(Status.PENDING, True, None)] * 4,
        (Status.RETRYING, False, None),
    ]
