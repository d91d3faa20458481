"""A cue together with its newest executions, in one statement: what is asked for most."""

from inspect import get_annotations
from operator import itemgetter
from typing import LiteralString

from attrs import frozen

from cueapi.storage import cues, executions
from cueapi.storage.cues import CueColumns
from cueapi.storage.database import Executor
from cueapi.storage.executions import ExecutionRow
from cueapi.storage.paging import Page


class ShownCue(CueColumns):
    """A cue as it stands, under the names of CUE, in the rows of its executions."""

    def __init__(self, row: ExecutionRow) -> None:
        for name, shown in _SHOWN:
            setattr(self, name, shown(row))


_SHOWN = [(name, itemgetter("shown_" + name)) for name in get_annotations(CueColumns)]


CUE: tuple[LiteralString, ...] = (
    "id", "name", "description", "status", "transport", "schedule_type", "cron", "schedule_at", "timezone", "catchup",
    "overlap", "callback_url", "callback_method", "callback_headers", "payload", "max_attempts", "backoff_minutes",
    "on_failure_email", "on_failure_webhook", "on_failure_pause", "verification", "timeout_seconds",
    "outcome_deadline_seconds", "alert_consecutive_failures", "alert_missed_window_multiplier", "next_run", "last_run",
    "run_count", "fired_count", "created_at", "updated_at", "warning",
)  # fmt: skip
"""The columns of a cue as they are shown. In a row with those of an execution they are named `shown_…`."""

# $1 cue, $2 user, $3 how many executions and one more, $4 behind how many. No row: not this user's.
SHOW: LiteralString = (
    "with cue as (" + cues.SHOW + "), page as (select " + executions.COLUMNS + " from executions e join cue c on true"
    " where e.cue_id = $1 order by e.created_at desc, e.id desc limit $3 offset $4),"
    " total as (select count(*) as total from (select 1 from executions e where e.cue_id = $1 limit 10001) counted) "
    "select total.total, " + ", ".join(["cue." + name + " as shown_" + name for name in CUE]) + ", page.*"
    " from cue cross join total left join page on true order by page.created_at desc, page.id desc"
)  # fmt: skip


@frozen
class History:
    """A cue, and a page of its executions."""

    cue: ShownCue
    page: Page[ExecutionRow]


async def show(db: Executor, *, cue_id: str, user: int, limit: int, offset: int) -> History | None:
    """The cue with its executions, newest first; None where it is not this user's."""
    rows = await db.fetch(SHOW, cue_id, user, limit + 1, offset, row=ExecutionRow)
    if not rows:
        return None
    # The total stands first. A cue without executions has one row, without an execution's id.
    found = [row for row in rows if row.id is not None]
    return History(ShownCue(rows[0]), Page(found[:limit], len(found) > limit, rows[0][0]))
