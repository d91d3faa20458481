"""Name look-ups in threads: a name server that hangs delays only requests for its own names."""

import socket
from collections.abc import Callable
from typing import cast

import trio
from attrs import define, field, frozen

from cueapi.domain.target import Rules, Target, check_addresses, check_url
from cueapi.domain.url import is_address
from cueapi.net.shortage import OwnShortage, shortage_in, shortage_now

THREADS = 64
"""The least; a larger dispatch pool has one thread for each of its slots, since one account may hold half of them."""

THREADS_FOR_ONE_NAME = 4
NAMES_KEPT = 10_000
ANSWER_SERVES = 5.0
FAILURE_SERVES = 1.0


class NameNotFound(Exception):
    """The name has no address at present; the message is a sentence."""

    def __init__(self, host: str) -> None:
        super().__init__(f"the name {host} does not resolve")
        self.host = host


def look_up(host: str) -> list[str]:
    """Ask the system for every address of *host*, best first. Blocks."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@define(eq=False)
class Resolver:
    """Caches an answer for 5 s; concurrent calls for one name share one look-up."""

    lookup: Callable[[str], list[str]] = look_up
    clock: Callable[[], float] = trio.current_time
    names_kept: int = NAMES_KEPT
    threads: int = THREADS
    _answers: dict[str, "_Answer"] = field(factory=dict, init=False)
    _under_way: dict[str, trio.Event] = field(factory=dict, init=False)
    _threads: trio.CapacityLimiter = field(init=False)
    _limiters: dict[str, trio.CapacityLimiter] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._threads = trio.CapacityLimiter(self.threads)

    async def resolve(self, host: str) -> list[str]:
        """All addresses of *host*. Raises NameNotFound and OwnShortage; the deadline is the caller's scope."""
        if is_address(host):
            return [host]
        while True:
            answer = self._answers.get(host)
            if answer is not None and self.clock() < answer.until:
                if not answer.addresses:
                    raise NameNotFound(host)
                return list(answer.addresses)
            if (done := self._under_way.get(host)) is None:
                await self._ask(host)
            else:
                await done.wait()

    async def _ask(self, host: str) -> None:
        """Fetch an answer. When it is cancelled, the calls that waited for it wake up, and the first one asks again."""
        done = self._under_way[host] = trio.Event()
        try:
            addresses = await self._look_up(host)
        finally:
            del self._under_way[host]
            done.set()
        self._remember(host, addresses)

    async def _look_up(self, host: str) -> list[str]:
        of_name = self._limiters.setdefault(host, trio.CapacityLimiter(THREADS_FOR_ONE_NAME))
        try:
            # Trio calls these two methods only, and releases when the thread ends, abandoned or not.
            both = cast(trio.CapacityLimiter, _Both(of_name, self._threads))
            return await trio.to_thread.run_sync(self.lookup, host, abandon_on_cancel=True, limiter=both)
        except (OSError, UnicodeError, RuntimeError) as error:
            # Without a descriptor the system says of every name that it is not known.
            if (reason := shortage_in(error) or shortage_now()) is not None:
                raise OwnShortage(reason) from error
            if isinstance(error, RuntimeError):
                raise
            return []
        finally:
            self._drop_unused_limiters()

    def _remember(self, host: str, addresses: list[str]) -> None:
        serves = ANSWER_SERVES if addresses else FAILURE_SERVES
        self._answers.pop(host, None)
        self._answers[host] = _Answer(tuple(addresses), self.clock() + serves)
        if len(self._answers) > self.names_kept:
            del self._answers[next(iter(self._answers))]

    def _drop_unused_limiters(self) -> None:
        """Keep those in use: they are few, since each has a thread or a waiting task."""
        for host in [host for host in self._limiters if host not in self._under_way]:
            if not self._limiters[host].borrowed_tokens:
                del self._limiters[host]


@frozen
class _Answer:
    addresses: tuple[str, ...]
    until: float


@frozen
class _Both:
    """Borrows from the limiter of one name, then from that of all: a name that hangs cannot hold every thread."""

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
        except OwnShortage:
            return target, f"{target.host} could not be looked up now; each delivery looks again."
        return target, None
    return target, f"{target.host} did not resolve within {PATIENCE:g} s; each delivery looks again."
