"""Names to addresses, in threads: a name server that hangs holds up only those who asked for its names."""

import socket
from collections.abc import Callable
from typing import cast

import trio
from attrs import define, field, frozen

from cueapi.domain.target import Rules, Target, check_addresses, check_url, is_address

THREADS = 64
"""At least: where the pool is larger, as many as it has places, since one account may have half of them."""

THREADS_FOR_ONE_NAME = 4
NAMES_KEPT = 10_000
ANSWER_SERVES = 5.0
FAILURE_SERVES = 1.0


class NameNotFound(Exception):
    """A name that has no address, now; the message is a sentence."""

    def __init__(self, host: str) -> None:
        super().__init__(f"the name {host} does not resolve")
        self.host = host


def look_up(host: str) -> list[str]:
    """What the system says: every address of *host*, best first. Blocks."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@define(eq=False)
class Resolver:
    """Remembers an answer for 5 s; those who ask for one name at the same time share one look-up."""

    lookup: Callable[[str], list[str]] = look_up
    clock: Callable[[], float] = trio.current_time
    names_kept: int = NAMES_KEPT
    threads: int = THREADS
    _answers: dict[str, "_Answer"] = field(factory=dict, init=False)
    _under_way: dict[str, trio.Event] = field(factory=dict, init=False)
    _threads: trio.CapacityLimiter = field(init=False)
    _places: dict[str, trio.CapacityLimiter] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._threads = trio.CapacityLimiter(self.threads)

    async def resolve(self, host: str) -> list[str]:
        """All addresses of *host*, or NameNotFound. Waits as long as the caller's scope lets it."""
        if is_address(host):
            return [host]
        while True:
            answer = self._answers.get(host)
            if answer is not None and self.clock() < answer.until:
                if not answer.addresses:
                    raise NameNotFound(host)
                return list(answer.addresses)
            if (landed := self._under_way.get(host)) is None:
                await self._ask(host)
            else:
                await landed.wait()

    async def _ask(self, host: str) -> None:
        """Fetch an answer. Cut off, it wakes those who waited with it, and the first of them asks anew."""
        landed = self._under_way[host] = trio.Event()
        try:
            addresses = await self._look_up(host)
        finally:
            del self._under_way[host]
            landed.set()
        self._remember(host, addresses)

    async def _look_up(self, host: str) -> list[str]:
        place = self._places.setdefault(host, trio.CapacityLimiter(THREADS_FOR_ONE_NAME))
        try:
            # Trio asks for these two methods only, and gives back when the thread ends, abandoned or not.
            both = cast(trio.CapacityLimiter, _Both(place, self._threads))
            return await trio.to_thread.run_sync(self.lookup, host, abandon_on_cancel=True, limiter=both)
        except (OSError, UnicodeError):
            return []
        finally:
            self._forget_free_places()

    def _remember(self, host: str, addresses: list[str]) -> None:
        serves = ANSWER_SERVES if addresses else FAILURE_SERVES
        self._answers.pop(host, None)
        self._answers[host] = _Answer(tuple(addresses), self.clock() + serves)
        if len(self._answers) > self.names_kept:
            del self._answers[next(iter(self._answers))]

    def _forget_free_places(self) -> None:
        """Keep those that are in use: few, since each has a thread or a waiting task."""
        for host in [host for host in self._places if host not in self._under_way]:
            if not self._places[host].borrowed_tokens:
                del self._places[host]


@frozen
class _Answer:
    addresses: tuple[str, ...]
    until: float


@frozen
class _Both:
    """A place among the look-ups of one name, then one among all: a name that hangs cannot hold them all."""

    first: trio.CapacityLimiter
    second: trio.CapacityLimiter

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self.first.acquire_on_behalf_of(borrower)
        try:
            await self.second.acquire_on_behalf_of(borrower)
        except BaseException:
            self.first.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self.second.release_on_behalf_of(borrower)
        self.first.release_on_behalf_of(borrower)


PATIENCE = 5.0
"""Seconds for the look-up when a URL is stored; delivery checks again in any case."""


async def check_reachable(
    url: str, resolver: Resolver, rules: Rules, *, code: str = "invalid_callback_url"
) -> tuple[Target, str | None]:
    """
    The target of *url*, and a warning where its name does not resolve (yet).

    Refuses, under *code*, a URL or an address that is not allowed.
    """
    target = check_url(url, rules, code)
    with trio.move_on_after(PATIENCE):
        try:
            check_addresses(await resolver.resolve(target.host), target, rules, code)
        except NameNotFound:
            return target, f"{target.host} does not resolve yet; each delivery looks again."
        return target, None
    return target, f"{target.host} did not resolve within {PATIENCE:g} s; each delivery looks again."
