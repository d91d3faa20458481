"""Changing a cue: its row is locked, and written in the same transaction."""

import json
from datetime import datetime
from typing import LiteralString

from attrs import frozen

from cueapi.domain.audit import Act, Entry
from cueapi.storage.cues import COLUMNS, CueRecord, CueRow, CueValues
from cueapi.storage.database import Executor, fetch_value
from cueapi.storage.statements import columns_of, load

# The row of the user first, as where a cue is added; then that of the cue, as the last change has left it.
LOCK: LiteralString = (
    "with account as materialized (select id from users where id = $2 and revoked_at is null for no key update) select "
    + COLUMNS
    + " from cues c join account a on a.id = c.user_id where c.id = $1 and c.deleted_at is null for no key update of c"
)


async def lock(db: Executor, *, cue_id: str, user: int) -> CueRow | None:
    """The cue, ours until the transaction ends; None where it is not this user's."""
    return await db.fetch_one(LOCK, cue_id, user, row=CueRow)


class ChangedCueRow(CueRow):
    """A cue that was changed, and the types of the alerts that its new budget has raised."""

    budget_alerts: list[str]


CHANGE = load(
    "change_cue",
    (
        "cue_id",
        "user",
        "act",
        "entries",
        "room",
        "status",
        "moves",
        "next_run",
        "next_local",
        "revives",
        "callback_host",
        *CueValues._fields,
    ),
    columns=COLUMNS,
    assignments=columns_of(CueValues, "{0} = :{0}"),
)  # fmt: skip


@frozen
class CueUpdate:
    """
    The room that a change needs (None: none), what it makes of status and next run, and what the audit says of it.
    """

    entries: list[Entry]
    room: int | None
    status: str
    moves: bool
    next_run: datetime | None


async def change(
    db: Executor, placed: CueRecord, made: CueUpdate, *, cue_id: str, user: int, act: Act
) -> ChangedCueRow | None:
    """The changed cue, which the transaction has locked; None where there is no room to revive it."""
    local = placed.cue.schedule.reading_at(made.next_run)
    return await db.fetch_one(
        CHANGE, cue_id, user, act.text(), json.dumps(made.entries), made.room, made.status, made.moves,
        made.next_run, local, made.room is not None, placed.host, *CueValues.of(placed), row=ChangedCueRow,
    )  # fmt: skip


HAS_FIRED = (
    "select exists (select from executions where cue_id = $1 and triggered_by = 'scheduled' and scheduled_for = $2)"
)


async def has_fired(db: Executor, *, cue_id: str, at: datetime) -> bool:
    """True where that scheduled time of the cue has an execution."""
    return await fetch_value(db, HAS_FIRED, cue_id, at, kind=bool) is True
