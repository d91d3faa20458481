"""Targets as people see them: the list, a probe that is asked for, and how many there are."""

from datetime import datetime
from typing import NamedTuple

from attrs import frozen

from cueapi.domain.audit import Act
from cueapi.storage.database import Executor, Row
from cueapi.storage.statements import load
from cueapi.storage.targets import TargetKey


class TargetRow(Row):
    """A host as it is listed; one that has always served has no *since*, *reason* and counts."""

    host: str
    state: str
    since: datetime | None
    reason: str | None
    attempts: int | None
    failure_rate: float | None
    opens: int | None
    next_probe_at: datetime | None
    now: datetime
    waiting: int
    oldest_waiting_at: datetime | None
    cues: int


class TargetFilter(NamedTuple):
    """Which targets of a user, and which page of them."""

    user: int
    state: str | None
    after: str | None
    size: int


LIST = load("list_targets", TargetFilter._fields)


@frozen
class TargetPage:
    """Targets by their host, and whether there are more behind them."""

    rows: list[TargetRow]
    more: bool


async def page(db: Executor, *, user: int, state: str | None, after: str | None, limit: int) -> TargetPage:
    """At most *limit* targets behind the host *after*, in one *state* or in any."""
    rows = await db.fetch(LIST, *TargetFilter(user, state, after, limit + 1), row=TargetRow)
    return TargetPage(rows[:limit], len(rows) > limit)


class AskedProbe(Row):
    """
    What came of asking for a probe: is there such a target, does anything wait for it, is it probed?

    *pause* are the seconds until it may be asked for again, where it is not probed.
    """

    is_known: bool
    is_awaited: bool
    is_asked: bool
    pause: float


ASK_FOR_PROBE = load("ask_for_probe", ("user", "host", "pause", "act"))


async def ask_for_probe(db: Executor, target: TargetKey, *, pause: float, act: Act) -> AskedProbe:
    """Have a target that is down probed at once, at most once in *pause* seconds, where something waits for it."""
    found = await db.fetch_one(ASK_FOR_PROBE, *target, pause, act.text(), row=AskedProbe)
    assert found is not None
    return found
