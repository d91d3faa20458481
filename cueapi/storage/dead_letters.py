"""
Dead letters: executions that have ended without success, and were neither replayed with success nor dismissed.

`executions.dead_at` is written by the statement that ends an execution, and cleared by the one that ends a replay with
success. Its partial index holds nothing else: however long a history is, these lists read none of it.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.domain.clock import parse_moment
from cueapi.storage.database import Executor, Row
from cueapi.storage.executions import COLUMNS as EXECUTION_COLUMNS
from cueapi.storage.executions import SOURCE, ExecutionRow
from cueapi.storage.keyset import KeysetPage, listed
from cueapi.storage.paging import PLACES, conditions

NONE: Literal["none"] = "none"
"""A filter's value that asks for what has no such thing. An error of this one word counts as none at all."""

IN_LINE: LiteralString = r"btrim(translate(left(coalesce(e.error_message, e.outcome_error), 200), e'\t\r\n', '   '))"
ERROR: LiteralString = "nullif(nullif(" + IN_LINE + ", ''), 'none')"
"""What dead letters are told apart by: the beginning of why they failed, in one line, as a form can hold it."""

_IN_LINE = re.compile("[\t\r\n]")


def read_status(given: int | str | None) -> int | Literal["none"] | None:
    """What a filter says of the status, where it says a number or `NONE`. Raises ValueError for anything else."""
    return None if given is None else NONE if given == NONE else int(given)


@frozen
class DeadFilter:
    """
    Which dead letters of a user; None leaves a condition out. *host* is where the cue calls now.

    *http_status* and *error* may be `NONE`.
    """

    user: int
    cue_id: str | None = None
    group: str | None = None
    host: str | None = None
    http_status: int | Literal["none"] | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    groups: tuple[str, ...] | None = None

    @classmethod
    def of(cls, user: int, given: Mapping[str, Any]) -> "DeadFilter":
        """A filter from JSON. Raises TypeError or ValueError where it cannot be read."""
        moments = {name: parse_moment(given[name]) for name in ("since", "until") if given.get(name) is not None}
        return cls(user, **{**given, **moments})

    def conditions(self, *more: tuple[LiteralString, object]) -> tuple[LiteralString, list[object]]:
        """The conditions, and *more*, with the values of their parameters; the user is the first of them."""
        status, error = self.http_status, self.error and _IN_LINE.sub(" ", self.error[:200]).strip(" ")
        text, values = conditions(
            [
                ("e.user_id = ?", self.user),
                ("e.cue_id = ?", self.cue_id),
                ("c.group_name = ?", self.group),
                ("c.group_name = any (?::text[])", self.groups and list(self.groups)),
                ("c.callback_host = ?", self.host),
                ("e.http_status = ?", None if status == NONE else status),
                ("(e.http_status is null) = ?", True if status == NONE else None),
                (ERROR + " = ?", None if error == NONE else error),
                ("(" + ERROR + " is null) = ?", True if error == NONE else None),
                ("e.dead_at >= ?", self.since),
                ("e.dead_at <= ?", self.until),
                *more,
            ]
        )
        return text + " and e.dead_at is not null", values


class DeadLetterRow(ExecutionRow):
    """A dead letter, and the newest replay of it."""

    group_name: str | None
    host: str | None
    dead_at: datetime
    replay_id: UUID | None
    replay_status: str | None


# Of the replays an array is made: `limit 1` might have the planner read all ids backwards.
COLUMNS: LiteralString = (
    EXECUTION_COLUMNS
    + ", c.group_name, c.callback_host as host, e.dead_at, r.ids[1] as replay_id, r.statuses[1] as replay_status"
)
REPLAYED: LiteralString = (
    SOURCE
    + " cross join lateral (select array_agg(n.id order by n.id desc) as ids,"
    + " array_agg(n.status::text order by n.id desc) as statuses"
    + " from executions n where n.replayed_from = e.id) r"
)


async def page(db: Executor, wanted: DeadFilter, *, before: UUID | None, limit: int) -> KeysetPage[DeadLetterRow]:
    """One page of dead letters, the newest execution first."""
    where, values = wanted.conditions()
    return await listed(
        db, row=DeadLetterRow, columns=COLUMNS, source=REPLAYED, where=where, values=values, key="e.id", before=before,
        limit=limit,
    )  # fmt: skip


SOME: LiteralString = (
    "select " + COLUMNS + " from " + REPLAYED + " where e.id = any ($2::uuid[]) and e.user_id = $1"
    " and e.dead_at is not null order by e.id desc"
)


async def some(db: Executor, *, user: int, ids: Sequence[UUID]) -> list[DeadLetterRow]:
    """Those of *ids* that are dead letters of *user*."""
    return await db.fetch(SOME, user, list(ids), row=DeadLetterRow)


class DeadGroupRow(Row):
    """What dead letters have in common; *truncated* where there are more than the summary has looked at."""

    cue_id: str
    cue_name: str
    host: str | None
    http_status: int | None
    error: str | None
    count: int
    first_at: datetime
    last_at: datetime
    truncated: bool


GROUP_COLUMNS: LiteralString = (
    "cue_id, max(cue_name) as cue_name, max(host) as host, http_status, error, count(*) as count,"
    " min(dead_at) as first_at, max(dead_at) as last_at"
)
GROUP_SOURCE: LiteralString = (
    "select e.cue_id, c.name as cue_name, c.callback_host as host, e.http_status, " + ERROR + " as error, e.dead_at"
    " from " + SOURCE
)


def _summary(where: LiteralString, most: LiteralString) -> LiteralString:
    newest: LiteralString = GROUP_SOURCE + " where " + where + " order by e.id desc limit " + most + " + 1"
    counted: LiteralString = (
        " from (select * from newest limit " + most + ") counted group by cue_id, http_status, error"
    )
    truncated: LiteralString = ", (select count(*) from newest) > " + most + " as truncated"
    largest: LiteralString = " order by count(*) desc, max(dead_at) desc, cue_id limit 50"
    return "with newest as materialized (" + newest + ") select " + GROUP_COLUMNS + truncated + counted + largest


SUMMARY: LiteralString = _summary("e.user_id = $1 and e.dead_at is not null", "$2::int")


async def summary(db: Executor, wanted: DeadFilter, *, most: int = 10_000) -> list[DeadGroupRow]:
    """The largest groups among so many of the newest dead letters at *most*: 50, the largest first."""
    where, values = wanted.conditions()
    return await db.fetch(
        SUMMARY if len(values) == 1 else _summary(where, PLACES[len(values)] + "::int"), *values, most, row=DeadGroupRow
    )
