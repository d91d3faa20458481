"""A cue together with its newest executions, in one statement: what is asked for most."""

from inspect import get_annotations
from operator import itemgetter

from attrs import frozen

from cueapi.storage import cues, executions
from cueapi.storage.cues import CueColumns
from cueapi.storage.database import Executor
from cueapi.storage.executions import ExecutionRow
from cueapi.storage.paging import Page
from cueapi.storage.statements import columns_of, load


class ShownCue(CueColumns):
    """A cue as it stands, in the rows of its executions, where its columns are named `shown_…`."""

    def __init__(self, row: ExecutionRow) -> None:
        for name, shown in _SHOWN:
            setattr(self, name, shown(row))


_SHOWN = [(name, itemgetter("shown_" + name)) for name in get_annotations(CueColumns)]


SHOW = load(
    "cue_history",
    ("cue_id", "user", "most", "skipped"),
    cue_columns=cues.COLUMNS,
    execution_columns=executions.COLUMNS,
    shown_columns=columns_of(CueColumns, "cue.{0} as shown_{0}"),
)


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
