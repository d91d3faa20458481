"""What a batch of an operation works on, and what came of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Generic, TypeVar

from attrs import frozen

from cueapi.domain.bulk import SkipReason
from cueapi.storage.fires import FiredExecution

T = TypeVar("T")


class AccountHeld(Exception):
    """The account is held: what the batch would fire is fired after the release."""


@frozen
class Chosen(Generic[T]):
    """
    What comes next: None is an id that names nothing.

    *cursor* is where the batch after it goes on; *ends*: none follows.
    """

    items: tuple[T | None, ...]
    cursor: str | None
    ends: bool


def fired_or_skipped(fired: FiredExecution) -> SkipReason | None:
    """Why a fire has made nothing; None where it has. Raises AccountHeld."""
    if fired.id is not None:
        return None
    if not fired.known:
        return SkipReason.CUE_DELETED
    if fired.hold_mode is not None:
        raise AccountHeld
    return SkipReason.BUDGET_REACHED


@frozen
class Worked:
    """What came of a batch, and what is to be woken: for executions that it made, and for the next run of a cue."""

    done: int
    skipped: Mapping[SkipReason, int]
    failed: int = 0
    made: tuple[FiredExecution, ...] = ()
    next_run: datetime | None = None
