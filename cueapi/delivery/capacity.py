"""The pool's places: how many are taken in all, by host and by account. What is passed over follows from it."""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from attrs import define, field

from cueapi.domain.attempt import Delivery
from cueapi.storage.outbox import Room

Key = TypeVar("Key", str, int)


def _nobody_waits() -> None:
    """No one is hungry for a place."""


@define(eq=False)
class Places:
    """
    At most *size* deliveries at once, *per_host* to one host and port, half of all for one account.

    A delivery takes its place when it is claimed, and gives it up when its result was handed on.
    """

    size: int
    per_host: int
    freed: Callable[[], None] = _nobody_waits
    _held: dict[object, Delivery] = field(init=False, factory=dict)
    _hosts: Counter[str] = field(init=False, factory=Counter)
    _users: Counter[int] = field(init=False, factory=Counter)
    _hungry: bool = field(init=False, default=False)
    _open: set[UUID] = field(init=False, factory=set)

    @property
    def taken(self) -> int:
        """How many deliveries are between claim and result."""
        return len(self._held)

    @property
    def per_user(self) -> int:
        """How many places one account may hold."""
        return max(self.size // 2, 1)

    def room(self) -> Room:
        """What may be claimed now."""
        return Room(self.size - len(self._held), dict(self._hosts), dict(self._users), self.per_host, self.per_user)

    def any_full(self) -> bool:
        """True where a host or an account has no place left."""
        return any(count >= self.per_host for count in self._hosts.values()) or any(
            count >= self.per_user for count in self._users.values()
        )

    def want(self) -> None:
        """Have *freed* called with the next place that comes free."""
        self._hungry = True

    def take(self, delivery: Delivery) -> None:
        """Give a claimed delivery its place."""
        self._held[delivery.claim] = delivery
        self._open.add(delivery.claim)
        self._hosts[delivery.host] += 1
        self._users[delivery.user_id] += 1

    def release(self, delivery: Delivery) -> None:
        """The delivery needs its place no longer."""
        if self._held.pop(delivery.claim, None) is None:
            return
        _give_up(self._hosts, delivery.host)
        _give_up(self._users, delivery.user_id)
        if self._hungry:
            self._hungry = False
            self.freed()

    def recorded(self, claim: UUID) -> None:
        """The result of that claim was written down, or the claim had passed to another."""
        self._open.discard(claim)

    def unrecorded(self) -> set[UUID]:
        """Each claim that was taken here and whose result was not recorded yet."""
        return set(self._open)

    def held(self) -> list[Delivery]:
        """Every delivery that has a place."""
        return list(self._held.values())


def _give_up(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
