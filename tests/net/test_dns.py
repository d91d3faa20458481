"""Name look-ups in threads."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import trio
import trio.testing
from attrs import define, field

from cueapi.domain.target import Rules
from cueapi.net.dns import NameNotFound, Resolver, check_reachable
from cueapi.net.shortage import OwnShortage
from tests.delivery.siblings import until
from tests.scarcity import no_file_left, no_thread_left

OPEN = Rules(allow=Rules.parse_allow("127.0.0.0/8,::1/128"))


@define
class Names:
    """A name server: hangs on names that begin with "hang" until it is released, and counts the look-ups."""

    answers: dict[str, list[str]] = field(factory=dict)
    asked: Counter[str] = field(factory=Counter)
    released: threading.Event = field(factory=threading.Event)

    def look_up(self, host: str) -> list[str]:
        self.asked[host] += 1
        if host.startswith("hang"):
            self.released.wait(20)
        if host not in self.answers:
            raise OSError(host)
        return self.answers[host]


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names({"a.example": ["8.8.8.8", "2606:4700::1111"]})
    yield names
    names.released.set()


async def test_localhost_resolves_by_the_system() -> None:
    with trio.fail_after(5):
        found = await Resolver().resolve("localhost")

    assert set(found) <= {"127.0.0.1", "::1"}
    assert len(found) == len(set(found)) > 0


async def test_a_name_that_does_not_exist_says_so() -> None:
    with trio.fail_after(20), pytest.raises(NameNotFound, match=r"nothing\.invalid does not resolve"):
        await Resolver().resolve("nothing.invalid")


async def test_an_address_is_not_looked_up(names: Names) -> None:
    resolver = Resolver(names.look_up)

    assert await resolver.resolve("127.0.0.1") == ["127.0.0.1"]
    assert await resolver.resolve("::1") == ["::1"]
    assert not names.asked


async def test_an_answer_serves_for_five_seconds(names: Names) -> None:
    now = [0.0]
    resolver = Resolver(names.look_up, clock=lambda: now[0])

    with trio.fail_after(5):
        for now[0] in (0.0, 4.9, 5.0, 9.9):
            assert await resolver.resolve("a.example") == ["8.8.8.8", "2606:4700::1111"]

    assert names.asked["a.example"] == 2


async def test_a_failure_serves_for_a_second(names: Names) -> None:
    now = [0.0]
    resolver = Resolver(names.look_up, clock=lambda: now[0])

    with trio.fail_after(5):
        for now[0] in (0.0, 0.9, 1.0):
            with pytest.raises(NameNotFound):
                await resolver.resolve("b.example")

    assert names.asked["b.example"] == 2


async def test_concurrent_calls_for_one_name_share_one_look_up(names: Names) -> None:
    resolver = Resolver(names.look_up)
    names.answers["hang.example"] = ["8.8.8.8"]

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(resolver.resolve, "hang.example")
            await trio.testing.wait_all_tasks_blocked(0.05)
            names.released.set()

    assert names.asked["hang.example"] == 1


async def test_a_look_up_that_hangs_is_abandoned_at_the_deadline_and_takes_at_most_four_threads(
    names: Names,
) -> None:
    resolver = Resolver(names.look_up)

    with trio.fail_after(5):
        for _ in range(6):
            with trio.move_on_after(0.05) as scope:
                await resolver.resolve("hang.example")
            assert scope.cancelled_caught
        # A thread may begin after it was given up.
        await until(lambda: names.asked["hang.example"] >= 4)

    assert names.asked["hang.example"] == 4


async def test_names_that_hang_do_not_delay_another_name(names: Names) -> None:
    resolver = Resolver(names.look_up)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for number in range(15):
                for _ in range(4):
                    nursery.start_soon(resolver.resolve, f"hang{number}.example")
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert await resolver.resolve("a.example")
            nursery.cancel_scope.cancel()


async def test_as_many_look_ups_run_at_once_as_there_are_threads(names: Names) -> None:
    resolver = Resolver(names.look_up, threads=3)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(resolver.resolve, f"hang{number}.example")
            await until(lambda: names.asked.total() >= 3)
            await trio.testing.wait_all_tasks_blocked(0.05)
            asked = names.asked.total()
            nursery.cancel_scope.cancel()

    assert asked == 3


async def test_when_the_first_caller_gives_up_the_next_one_asks(names: Names) -> None:
    resolver = Resolver(names.look_up)
    names.answers["hang.example"] = ["8.8.8.8"]

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            first = trio.CancelScope()
            nursery.start_soon(_ask_within, first, resolver, "hang.example")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(resolver.resolve, "hang.example")
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
            await trio.testing.wait_all_tasks_blocked()
            names.released.set()
        await until(lambda: names.asked["hang.example"] >= 2)

    assert names.asked["hang.example"] == 2

    assert await resolver.resolve("hang.example") == ["8.8.8.8"]


async def test_the_cache_is_bounded(names: Names) -> None:
    resolver = Resolver(names.look_up, names_kept=2)

    with trio.fail_after(5):
        for number in range(3):
            names.answers[f"{number}.example"] = ["8.8.8.8"]
            await resolver.resolve(f"{number}.example")
        await resolver.resolve("2.example")
        await resolver.resolve("0.example")

    assert names.asked == {"0.example": 2, "1.example": 1, "2.example": 1}


async def _ask_within(scope: trio.CancelScope, resolver: Resolver, host: str) -> None:
    with scope:
        await resolver.resolve(host)


@pytest.mark.parametrize("scarce", [no_file_left, no_thread_left])
async def test_a_look_up_that_we_are_too_short_for_says_nothing_of_the_name(
    scarce: Callable[[], AbstractContextManager[None]],
) -> None:
    resolver = Resolver()
    with trio.fail_after(20):
        with scarce():
            with pytest.raises(OwnShortage):
                await resolver.resolve("localhost")
            target, warning = await check_reachable("http://localhost:9/", resolver, OPEN)
        found = await resolver.resolve("localhost")

    assert warning == "localhost could not be looked up now; each delivery looks again."
    assert target.host == "localhost"
    assert set(found) <= {"127.0.0.1", "::1"}
