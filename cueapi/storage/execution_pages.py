"""Lists of executions: by which filters, and what each page is read by."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import LiteralString, TypeAlias
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor
from cueapi.storage.executions import COLUMNS, LIVING_CUE, SOURCE, ExecutionRow
from cueapi.storage.paging import PLACES, Page, conditions, paged, size_for

# As many rows, but few cues are deleted: a join with those that live takes five times as long to count. $1 the user.
NOT_DELETED: LiteralString = "cue_id not in (select id from cues where user_id = $1 and deleted_at is not null)"
COUNTED: LiteralString = "(select * from executions where " + NOT_DELETED + ") e"


Sources: TypeAlias = tuple[LiteralString, LiteralString]
"""What a page is read from, and what its total is counted from."""


@frozen
class Filter:
    """Which executions of a user; None leaves a condition out."""

    user: int
    cue: str | None = None
    group: str | None = None
    status: str | None = None
    outcome_state: str | None = None
    triggered_by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cue_name: str | None = None
    statuses: tuple[str, ...] | None = None
    worker: str | None = None
    result_type: str | None = None
    has_evidence: bool | None = None
    before: tuple[datetime, UUID] | None = None
    groups: tuple[str, ...] | None = None
    """Those that the key is limited to."""


# Words in the text and no parameters: the planner knows how many rows each status has.
_STATUS: dict[str, LiteralString] = {
    "pending": "e.status = 'pending'",
    "delivering": "e.status = 'delivering'",
    "retrying": "e.status = 'retrying' and e.ready_at > now()",
    "retry_ready": "e.status = 'retrying' and e.ready_at <= now()",
    "success": "e.status = 'success'",
    "failed": "e.status = 'failed'",
    "missed": "e.status = 'missed'",
    "outcome_timeout": "e.status = 'outcome_timeout'",
}

# As the index executions_with_evidence has it.
_EVIDENCE: dict[bool, LiteralString] = {
    True: "num_nonnulls(e.external_id, e.result_url, e.result_ref, e.result_type, e.summary, e.artifacts) > 0",
    False: "num_nonnulls(e.external_id, e.result_url, e.result_ref, e.result_type, e.summary, e.artifacts) = 0",
}

_IN_GROUP: LiteralString = (
    "exists (select from cues g where g.id = e.cue_id and g.user_id = e.user_id and g.group_name = ?)"
)

_IN_GROUPS: LiteralString = (
    "exists (select from cues g where g.id = e.cue_id and g.user_id = e.user_id and g.group_name = any (?::text[]))"
)

# Looked up once, then the cue's index is read.
_OF_NAME: LiteralString = (
    "e.cue_id = (select n.id from cues n where n.user_id = $1 and n.name = ? and n.deleted_at is null)"
)


def _conditions(wanted: Filter) -> tuple[LiteralString, list[object]]:
    """The conditions of *wanted*, with the values of their parameters; the user is the first of them."""
    text, values = conditions(
        [
            ("e.user_id = ?", wanted.user),
            ("e.cue_id = ?", wanted.cue),
            (_OF_NAME, wanted.cue_name),
            (_IN_GROUP, wanted.group),
            (_IN_GROUPS, wanted.groups and list(wanted.groups)),
            ("e.outcome_state = ?", wanted.outcome_state),
            ("e.triggered_by = ?", wanted.triggered_by),
            ("e.claimed_by_worker = ?", wanted.worker),
            ("e.result_type = ?", wanted.result_type),
            ("e.created_at >= ?", wanted.since),
            ("e.created_at <= ?", wanted.until),
        ]
    )
    if wanted.status is not None:
        text += " and " + _STATUS[wanted.status]
    if wanted.has_evidence is not None:
        text += " and " + _EVIDENCE[wanted.has_evidence]
    return text, values


def _merged(wanted: Filter, where: LiteralString, places: Sequence[LiteralString], taken: LiteralString) -> Sources:
    """
    The executions in several statuses, and those that are counted. Each status is read by its index, as many rows as a
    page has, and merged: how rare the statuses of one account are together, the planner cannot know.

    *places* are those of a cursor's parameters.
    """
    each = [
        "select e.* from executions e where " + where + " and " + NOT_DELETED + " and " + _STATUS[status]
        for status in wanted.statuses or ()
    ]
    behind: LiteralString = ""
    if wanted.before is not None:
        behind = " and (e.created_at, e.id) < (" + places[0] + ", " + places[1] + ")"
    pages = ["(" + one + behind + " order by e.created_at desc, e.id desc" + taken + ")" for one in each]
    counted = ["(" + one + " limit 10001)" for one in each]
    return "(" + " union all ".join(pages) + ") e join " + LIVING_CUE, "(" + " union all ".join(counted) + ") e"


async def page(db: Executor, wanted: Filter, *, limit: int, offset: int, counted: bool = True) -> Page[ExecutionRow]:
    """One page of executions, newest first, ties by id; with their number unless they are not to be *counted*."""
    where, values = _conditions(wanted)
    read = partial(
        paged, db, row=ExecutionRow, columns=COLUMNS, source=SOURCE, where=where, values=values, alias="e",
        before=wanted.before, limit=limit, offset=offset,
    )  # fmt: skip
    if wanted.statuses is None:
        return await read(counted=COUNTED if counted else None)
    taken: LiteralString = " limit 10101" if offset else size_for(limit)
    source, of_statuses = _merged(wanted, where, PLACES[len(values) :], taken)
    return await read(source=source, counted=of_statuses if counted else None, where="true")
