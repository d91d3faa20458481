"""All bodies that are being read share a budget: slow ones end so that others are read, or the newcomer is refused."""

from contextlib import AsyncExitStack, suppress
from math import inf

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from cueapi.api.http.body_budget import BUDGET, SLOW_AFTER, BodyBudget, to_end
from cueapi.api.http.incoming import ARRIVES_WITHIN, IncomingBody
from cueapi.domain.errors import Refusal
from tests.api.http.test_hostile_bodies import send
from tests.conftest import RunningDaemon

MIB = 1024 * 1024
QUICK = b"{}" + b" " * 9_000
OK, BUSY = b"HTTP/1.1 200", b"HTTP/1.1 503"


@define(eq=False)
class Body:
    """A body that has come so far."""

    name: str
    begun: float
    held: int
    whole: bool = False
    budget: BodyBudget | None = None
    ended: bool = field(init=False, default=False)

    def end_slow(self) -> None:
        """Free what it holds."""
        self.ended = True
        if self.budget is not None:
            self.budget.free(self)
        self.held = 0


OLD, YOUNGER, NEW = Body("old", 0, 40), Body("younger", 5, 40), Body("new", 10, 40)
WHOLE = Body("whole", 0, 40, whole=True)


@pytest.mark.parametrize(
    ("needed", "ended"),
    [(1, ["old"]), (40, ["old"]), (41, ["old", "younger"]), (80, ["old", "younger"]), (81, [])],
)
def test_slow_bodies_end_the_oldest_first_and_none_where_that_is_not_enough(needed: int, ended: list[str]) -> None:
    found = to_end([NEW, WHOLE, YOUNGER, OLD], needed, now=10 + SLOW_AFTER / 2)

    assert [body.name for body in found] == ended


async def test_the_budget_is_never_exceeded_and_what_was_freed_is_given_again(autojump_clock: MockClock) -> None:
    budget = BodyBudget(100)
    one, other, third = (Body(name, trio.current_time(), 0, budget=budget) for name in ("one", "other", "third"))
    taken = [budget.take(body, size) for body, size in ((one, 60), (other, 40), (third, 1))]
    one.held, other.held = 60, 40
    await trio.sleep(SLOW_AFTER)
    late = budget.take(third, 50)

    assert taken == [True, True, False]
    assert (late, one.ended, other.ended, budget.held) == (True, True, False, 90)


async def test_a_slow_body_that_wants_more_than_there_is_ends_itself(autojump_clock: MockClock) -> None:
    budget = BodyBudget(100)
    slow = Body("slow", -inf, 0, budget=budget)
    budget.take(slow, 100)
    slow.held = 100

    assert not budget.take(slow, 1)
    assert (slow.ended, budget.held) == (True, 0)


async def test_unfinished_bodies_give_way_to_one_that_comes_at_once_and_are_told_to_come_again(
    daemon: RunningDaemon,
) -> None:
    api = await daemon.api.register()
    port = daemon.resources.listener.getsockname()[1]
    head = f"POST /v1/worker/heartbeat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.key}\r\n"
    head += f"Content-Length: {MIB}\r\n\r\n"

    with trio.fail_after(60):
        async with AsyncExitStack() as stack:
            slow = [
                await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
                for _ in range(BUDGET // MIB)
            ]
            for stream in slow:
                await stream.send_all(head.encode() + b" " * (MIB - 1))
            await held(daemon, BUDGET - len(slow))
            while not (told := await send(daemon, "/v1/worker/heartbeat", QUICK, key=api.key)).startswith(OK):
                assert told.startswith(BUSY)
            refused = await slow[0].receive_some()
            with suppress(trio.BrokenResourceError):
                await slow[-1].send_all(b" ")
            served = await slow[-1].receive_some()
        await held(daemon, 0)

    assert refused.startswith(BUSY)
    assert b"retry-after: 5" in refused.lower()
    assert b'"overloaded"' in refused
    assert served.startswith(OK)


async def held(daemon: RunningDaemon, number: int) -> None:
    """Return when the bodies hold so many bytes, as /metrics tells it."""
    value = None
    while value != number:
        told = (await daemon.client.get("/metrics")).text
        value = next(float(line.split()[1]) for line in told.splitlines() if line.startswith("cueapi_body_bytes "))


async def test_a_body_that_does_not_arrive_in_time_is_refused(autojump_clock: MockClock) -> None:
    body = IncomingBody(announced=2, most=10)
    body.add(b"{")

    with pytest.raises(Refusal) as refused:
        await body.read()

    assert (refused.value.code, trio.current_time() - body.begun) == ("request_timeout", ARRIVES_WITHIN)


async def test_a_body_is_held_until_it_is_dropped_and_never_again() -> None:
    budget = BodyBudget()
    body = IncomingBody(None, 10, budget)
    body.add(b"{}")
    body.complete()
    twice = [await body.read(), await body.read()]
    before = budget.held
    body.drop()
    body.add(b"more")

    assert (twice, before, body.held, budget.held) == ([b"{}", b"{}"], 2, 0, 0)


async def test_a_heartbeat_that_waits_for_work_holds_no_body(daemon: RunningDaemon) -> None:
    api = await daemon.api.register()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(api.post, "/v1/worker/heartbeat", {"claim": 1, "wait_seconds": 30})
            while "cueapi_waiting_calls 1.0" not in (metrics := (await daemon.client.get("/metrics")).text):
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    assert "cueapi_body_bytes 0.0" in metrics
