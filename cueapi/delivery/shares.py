"""
Who may hold how many slots of the pool, as plain functions of counts.

An account holds at most half of all. A quarter is kept for accounts that hold none: whatever the others do, they get
one. Of the other three quarters each account that holds any may claim its equal share first; what is left over then is
for those that want more.

Where even the kept quarter is in use, slots come free as attempts end. The last resort, for an account that holds none
and has waited for seconds, is to interrupt an attempt: of an account beyond its share, or one that has run for a
minute where such hold more than three quarters. Of the slots of one host only what is beyond a share gives way.
"""

from collections import defaultdict
from collections.abc import Collection
from operator import attrgetter
from uuid import UUID

from cueapi.domain.attempt import Delivery

LONG_RUN = 60.0
"""Seconds after which an attempt counts as a long one: a quarter of the slots is closed to these."""


def most_of_one(size: int) -> int:
    """How many slots one account may hold: half of all."""
    return max(size // 2, 1)


def kept(size: int) -> int:
    """How many slots are for accounts that hold none: a quarter, and one at least."""
    return -(-size // 4)


def equal_share(size: int, accounts: int) -> int:
    """How many slots each of so many *accounts* may claim before any may claim more."""
    return min(max((size - kept(size)) // max(accounts, 1), 1), most_of_one(size))


def may_claim_up_to(size: int, *, free: int, accounts: int, spare: bool) -> int:
    """
    How many slots an account may hold that claims now, while *accounts* hold some and so many are *free*.

    *spare* is for what those below their equal share leave over.
    """
    if free <= kept(size):
        return 1
    return most_of_one(size) if spare else equal_share(size, accounts)


def to_interrupt(held: Collection[Delivery], *, size: int, waiting: int, now: float) -> list[UUID]:
    """
    The claims to interrupt so that each of *waiting* accounts, which hold none of *size* slots, gets one.

    Of the account that holds most, beyond its share: the attempt that began last, since the least is lost with it.
    Where none is beyond its share: of the long ones that hold more than three quarters, the longest.
    """
    by_account = _by_account(held)
    chosen = _beyond_share(by_account, size, waiting)
    left = [one for kept_ones in by_account.values() for one in kept_ones]
    chosen += _long_ones(left, size - kept(size), now)[: waiting - len(chosen)]
    return [one.claim for one in chosen]


def to_interrupt_at_host(held: Collection[Delivery], *, size: int, waiting: int) -> list[UUID]:
    """As `to_interrupt`, of what is *held* of a host that has *size* slots; the longest do not give way."""
    return [one.claim for one in _beyond_share(_by_account(held), size, waiting)]


_BEGUN = attrgetter("claimed_at")


def _by_account(held: Collection[Delivery]) -> dict[int, list[Delivery]]:
    """What each account holds, what it began last at the end."""
    by_account = defaultdict[int, list[Delivery]](list)
    for delivery in sorted(held, key=_BEGUN):
        by_account[delivery.user_id].append(delivery)
    return by_account


def _beyond_share(by_account: dict[int, list[Delivery]], size: int, waiting: int) -> list[Delivery]:
    """Take one for each of *waiting* accounts from who holds more than a share, each time from who holds most."""
    share = max(size // (len(by_account) + waiting), 1)
    taken: list[Delivery] = []
    while by_account and len(taken) < waiting and len(most := max(by_account.values(), key=len)) > share:
        taken.append(most.pop())
    return taken


def _long_ones(held: Collection[Delivery], allowed: int, now: float) -> list[Delivery]:
    """As many of the attempts that have run for a minute as there are more than *allowed*, the longest first."""
    long = sorted((one for one in held if now - one.claimed_at >= LONG_RUN), key=_BEGUN)
    return long[: max(len(long) - allowed, 0)]
