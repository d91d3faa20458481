"""Ends what no statement can work with, and tells its user: an alert, and what `on_failure` asks for."""

from uuid import UUID

from cueapi.storage.database import Executor, Row
from cueapi.storage.statements import load


class QuarantineResult(Row):
    """
    What a quarantine has come to: how many alerts and how many notifications of `on_failure`.

    The cue is null where it was set aside, changed or deleted before. *has_paused* where `on_failure` has paused it.
    """

    alerts: int
    notices: int
    cue_id: str | None
    cue_name: str | None
    has_paused: bool


# $2 the revision that the cue was read in: nothing happens where it has changed meanwhile. $3 the reason.
# `least`: the revision may be at the end of its numbers.
CUE = """
with quarantined as (
    update cues c
       set status = 'failed', next_run = null, revision = least(c.revision, 9223372036854775806) + 1, warning = $3,
           updated_at = clock_timestamp()
      from (select id, status as was from cues where id = $1 and revision = $2) b
     where c.id = b.id
       and c.revision = $2
       and c.deleted_at is null
 returning c.id, c.user_id, c.name, c.on_failure_webhook, c.on_failure_email, b.was
), audited as (
    select write_audit(user_id, system_act($3), 'cue.set_aside', 'cue', id, name,
                       changes_of(field_change('status', was::text, 'failed'::text)))
      from quarantined
)
select count(raise_alert(user_id, 'execution_failed', id, id, null, format('%s: %s', name, $3::text),
                         json_build_object('status', 'failed', 'attempts', 0, 'http_status', null),
                         of_incident => incident)) as alerts,
       count(tell_of_failure(user_id, on_failure_webhook, on_failure_email,
                             jsonb_build_object('event', 'cue.failed', 'cue_id', id, 'cue_name', name,
                                                'execution_id', null, 'attempts', 0, 'last_http_status', null,
                                                'last_error', $3::text, 'failed_at', iso(now())), incident)) as notices,
       max(id) as cue_id, max(name) as cue_name, false as has_paused
  from (select *, open_incident(user_id, 'set_aside', id, name, format('%s was set aside: %s', name, $3::text),
                                'critical', id, by_mail => not on_failure_email) as incident
          from quarantined
        offset 0) q
 where (select count(*) from audited) is not null
"""


async def quarantine_cue(db: Executor, *, cue_id: str, revision: int, reason: str) -> QuarantineResult:
    """End a cue that cannot be fired, with the reason as its warning."""
    result = await db.fetch_one(CUE, cue_id, revision, reason, row=QuarantineResult)
    assert result is not None
    return result


EXECUTION = load("quarantine_execution", ("execution", "reason"))


async def quarantine_execution(db: Executor, execution: UUID, *, reason: str) -> QuarantineResult:
    """End an execution whose row, or whose cue's row, cannot be worked with."""
    result = await db.fetch_one(EXECUTION, execution, reason, row=QuarantineResult)
    assert result is not None
    return result
