"""What PostgreSQL holds of one user, at one moment, and each step that its executions took since the last look."""

import json
from datetime import datetime
from typing import Any, TypeAlias

from attrs import frozen

from cueapi.storage.database import Database

Row: TypeAlias = dict[str, Any]
"""A row, as PostgreSQL writes it in JSON."""

FINAL = frozenset({"success", "failed", "missed", "outcome_timeout"})
WAITING = frozenset({"pending", "retrying"})

TOLD = (
    "id", "cue_id", "transport", "triggered_by", "status", "attempts", "lost_claims", "claim", "claimed_by_worker",
    "http_status", "ready_at", "lease_until", "outcome_deadline_at", "outcome_attempt", "outcome_result",
    "outcome_state", "error_message",
)  # fmt: skip

# Each writing of an execution is noted in the transaction that does it: no step is too quick to be seen.
NOTING = """
create table noted (
    number  bigint generated always as identity,
    moved   xid8 not null default pg_current_xact_id(),
    user_id bigint not null,
    before  jsonb,
    after   jsonb not null
);
create function note() returns trigger language plpgsql as $$
begin
    insert into noted (user_id, before, after) values (new.user_id, to_jsonb(old), to_jsonb(new));
    return null;
end $$;
create trigger noted after insert or update on executions for each row execute function note();
"""

# One statement, one snapshot. $1 the user.
LOOK = """
with taken as (
    delete from noted where user_id = $1 returning *
)
select json_build_object(
    'now', now(),
    'steps', (select json_agg(t order by number) from taken t),
    'executions', (select json_agg(e order by created_at, id) from executions e where user_id = $1),
    'cues', (select json_agg(c) from cues c where user_id = $1),
    'outbox', (select json_agg(o) from outbox o where user_id = $1),
    'alerts', (select json_agg(a) from alerts a where user_id = $1),
    'tries', (select json_object_agg(execution_id, numbers)
                from (select a.execution_id, json_agg(a.attempt order by a.attempt) as numbers
                        from attempts a join executions e on e.id = a.execution_id
                       where e.user_id = $1 group by a.execution_id) t),
    'heard_of', (select json_object_agg(worker_id, last_heartbeat) from workers where user_id = $1),
    'handlers', (select json_object_agg(worker_id, handlers) from workers where user_id = $1),
    'live_cues', (select live_cues from users where id = $1),
    'usage', (select json_build_object('executions', coalesce(sum(executions), 0),
                                       'reported', coalesce(sum(reported), 0),
                                       'succeeded', coalesce(sum(succeeded), 0),
                                       'failed', coalesce(sum(failed), 0)) from usage where user_id = $1)
) as seen
"""


@frozen
class Transition:
    """One writing of an execution; *before* is None where it was made. *moved* tells the transaction."""

    before: Row | None
    after: Row
    moved: str

    @property
    def reported(self) -> bool:
        """True where an outcome was recorded."""
        return self.before is not None and self.after["outcome_recorded_at"] != self.before["outcome_recorded_at"]

    @property
    def ends(self) -> bool:
        """True where it brought the execution to its end."""
        return self.before is not None and self.before["status"] not in FINAL and self.after["status"] in FINAL

    def __str__(self) -> str:
        was, is_now = brief(self.before or {}), brief(self.after)
        moved = [f"{name}: {was.get(name)} -> {now}" for name, now in is_now.items() if was.get(name) != now]
        return f"{self.after['id']} ({', '.join(moved)})"


@frozen
class Seen:
    """One look: rows by their id."""

    now: datetime
    steps: list[Transition]
    executions: dict[str, Row]
    cues: dict[str, Row]
    outbox: dict[str, Row]
    alerts: list[Row]
    tries: dict[str, list[int]]
    heard_of: dict[str, str]
    handlers: dict[str, list[str]]
    live_cues: int
    usage: dict[str, int]

    def cue_of(self, execution: Row) -> Row:
        """The cue of an execution, deleted ones included."""
        return self.cues[execution["cue_id"]]

    def lives(self, execution: Row) -> bool:
        """True where its cue is not deleted."""
        return self.cue_of(execution)["deleted_at"] is None

    def of(self, cue: str) -> list[Row]:
        """The executions of *cue*, the oldest first."""
        return [one for one in self.executions.values() if one["cue_id"] == cue]

    def claimable(self, execution: Row) -> bool:
        """True where a worker may claim it."""
        waits = execution["transport"] == "worker" and execution["status"] in WAITING and self.lives(execution)
        return waits and moment(execution["ready_at"]) <= self.now


def brief(row: Row) -> Row:
    """What is worth telling of an execution."""
    return {name: row[name] for name in TOLD if row.get(name) is not None}


def moment(text: str) -> datetime:
    """A moment, as PostgreSQL or the API writes it."""
    return datetime.fromisoformat(text)


async def look(database: Database, user: int) -> Seen:
    """Everything of *user* at one moment; the steps are those that no look has seen."""
    row = await database.fetch_one(LOOK, user)
    seen = {name: value or [] for name, value in json.loads(row["seen"]).items()}
    return Seen(
        now=moment(seen["now"]),
        steps=[Transition(one["before"], one["after"], one["moved"]) for one in seen["steps"]],
        executions={one["id"]: one for one in seen["executions"]},
        cues={one["id"]: one for one in seen["cues"]},
        outbox={one["execution_id"]: one for one in seen["outbox"]},
        alerts=seen["alerts"],
        tries=seen["tries"] or {},
        heard_of=seen["heard_of"] or {},
        handlers=seen["handlers"] or {},
        live_cues=seen["live_cues"] or 0,
        usage=seen["usage"],
    )
