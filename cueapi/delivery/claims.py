"""Before the first byte: is the claim still ours? The process may have been stopped since it was made."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio

from cueapi.domain.attempt import Delivery
from cueapi.storage.clock import steady
from cueapi.storage.database import Database, StorageUnavailable
from cueapi.storage.outbox import renew_claim

FRESH_FOR = 3.0
"""Seconds for which a claim needs no question: a daemon is given up after 5 s without its lock."""

HOLD_SEEN_WITHIN = 1.0
"""Seconds after its claim for which a delivery needs no question: within so many a hold of everything is in force."""


class ClaimLost(Exception):
    """What was claimed may be another daemon's by now, or has ended: nothing of it may be sent."""


async def confirm_delivery(database: Database, delivery: Delivery) -> None:
    """Return when the first byte of *delivery* may be sent. Raises ClaimLost."""
    renew = partial(
        renew_claim, database, execution=delivery.execution_id, claim=delivery.claim, within=delivery.timeout
    )
    await confirm_claim(delivery.claimed_at, renew, fresh_for=HOLD_SEEN_WITHIN)


async def confirm_claim(
    claimed_at: float, renew: Callable[[], Awaitable[bool]], *, fresh_for: float = FRESH_FOR
) -> None:
    """
    Return when a claim stands: it was made at *claimed_at*, *fresh_for* seconds ago at most, or *renew* has said so.

    Raises ClaimLost where it has passed to another, and where PostgreSQL cannot say that it has not.
    """
    # From before each statement: the process may be stopped between its answer and the next line.
    known_at = claimed_at
    while steady() - known_at > fresh_for:
        known_at, fresh_for = steady(), FRESH_FOR
        if not await _ask(renew):
            raise ClaimLost("its claim may be another daemon's")


async def _ask(renew: Callable[[], Awaitable[bool]]) -> bool:
    # Shielded: an attempt whose deadline passes here would count as one that the handler did not answer.
    with trio.move_on_after(FRESH_FOR, shield=True), suppress(StorageUnavailable):
        return await renew()
    return False
