"""Which deliveries are under way, in all, by host and by account: what the dispatcher may claim follows from it."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar
from uuid import UUID

import trio
from attrs import define, field

from cueapi.delivery.host_slots import HostSlots
from cueapi.delivery.shares import equal_share, kept, may_claim_up_to, most_of_one
from cueapi.domain.attempt import Delivery
from cueapi.storage.outbox import Headroom
from supervisor import Periodic

Key = TypeVar("Key", str, int)

BATCH_PAUSE = 0.03
"""Seconds in which freed slots gather before the next claim."""

INTERRUPTED = "an account without a slot has waited for too long"
"""Why an attempt is cancelled."""


def wake_soon(ticks: Periodic) -> None:
    """Have the dispatcher look again when some more slots may be free."""
    ticks.wake_at(trio.current_time() + BATCH_PAUSE)


def _do_nothing() -> None:
    """Default callback: do nothing."""


@define(eq=False)
class Capacity:
    """
    At most *size* deliveries at once, and of one account as many as `shares` says.

    A delivery takes a slot when it is claimed, and frees it when its result was handed on. Where more wait, *on_freed*
    is called with the first that is freed, and *on_half* when half of them are: claims are few, and the pool is never
    idle. To one host and port at most *per_host* are sent at once; a few more are claimed ahead (`slots`).
    """

    size: int
    per_host: int
    on_freed: Callable[[], None] = _do_nothing
    on_half: Callable[[], None] = _do_nothing
    slots: HostSlots = field(init=False)
    _held: dict[object, Delivery] = field(init=False, factory=dict)
    _hosts: Counter[str] = field(init=False, factory=Counter)
    _users: Counter[int] = field(init=False, factory=Counter)
    _wanted: bool = field(init=False, default=False)
    _peak: int = field(init=False, default=0)
    """The most slots that were taken at once since a wake-up was requested; 0 where none is."""

    _open: set[UUID] = field(init=False, factory=set)
    _scopes: dict[UUID, trio.CancelScope] = field(init=False, factory=dict)
    _interrupted: set[UUID] = field(init=False, factory=set)

    @slots.default
    def _make_slots(self) -> HostSlots:
        return HostSlots(self.per_host)

    @property
    def taken(self) -> int:
        """How many deliveries are between claim and result."""
        return len(self._held)

    @property
    def free(self) -> int:
        """How many slots no delivery has."""
        return self.size - len(self._held)

    def headroom(self, *, spare: bool = False) -> Headroom:
        """What may be claimed now: up to equal shares, or of what those leave over."""
        per_user = may_claim_up_to(self.size, free=self.free, accounts=len(self._users), spare=spare)
        hosts = self._slots_used()
        return Headroom(self.free, kept(self.size), hosts, dict(self._users), self.per_host, per_user)

    def _slots_used(self) -> dict[str, int]:
        """How many of each host's slots count as used; negative where more may be claimed ahead than are sent."""
        ahead = self.slots.ahead()
        return {host: self._hosts[host] - ahead.get(host, 0) for host in self._hosts.keys() | ahead.keys()}

    def has_spare(self) -> bool:
        """True where an account that has its equal share may have more, if the others leave it over."""
        share = equal_share(self.size, len(self._users))
        return self.free > kept(self.size) and any(
            share <= count < most_of_one(self.size) for count in self._users.values()
        )

    def any_full(self) -> bool:
        """True where a delivery may have to wait that has a free slot: its host or its account has no more."""
        room = self.headroom(spare=True)
        return bool(room.full_hosts()) or any(count >= room.per_user for count in room.users.values())

    def request_wakeup(self) -> None:
        """Have *on_freed* called with the next slot that is freed, and *on_half* when half of those taken are."""
        self._wanted, self._peak = True, max(len(self._held), 1)

    def take(self, delivery: Delivery) -> None:
        """Give a claimed delivery its slot."""
        self._held[delivery.claim] = delivery
        if self._peak:
            self._peak = max(self._peak, len(self._held))
        self._open.add(delivery.claim)
        self._hosts[delivery.host] += 1
        self._users[delivery.user_id] += 1

    def release(self, delivery: Delivery) -> None:
        """The delivery no longer needs its slot."""
        if self._held.pop(delivery.claim, None) is None:
            return
        self._scopes.pop(delivery.claim, None)
        self._interrupted.discard(delivery.claim)
        _give_up(self._hosts, delivery.host)
        _give_up(self._users, delivery.user_id)
        if self._wanted:
            self._wanted = False
            self.on_freed()
        if self._peak and 2 * len(self._held) <= self._peak:
            self._peak = 0
            self.on_half()

    def scope(self, delivery: Delivery) -> trio.CancelScope:
        """What the next wait of the attempt is to run in, without a deadline: it may be interrupted, or is already."""
        scope = self._scopes[delivery.claim] = trio.CancelScope()
        if delivery.claim in self._interrupted:
            scope.cancel(reason=INTERRUPTED)
        return scope

    def interrupt(self, claims: Iterable[UUID]) -> None:
        """End the attempts of these claims, begun or not; each frees its slot once its result was handed on."""
        for claim in claims:
            self._interrupted.add(claim)
            if (scope := self._scopes.get(claim)) is not None:
                scope.cancel(reason=INTERRUPTED)

    def recorded(self, claim: UUID) -> None:
        """The result of that claim was written down, or the claim was lost."""
        self._open.discard(claim)

    def unrecorded(self) -> set[UUID]:
        """Each claim that was taken here and whose result was not recorded yet."""
        return set(self._open)

    def held(self) -> list[Delivery]:
        """Every delivery that has a slot."""
        return list(self._held.values())


def _give_up(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
