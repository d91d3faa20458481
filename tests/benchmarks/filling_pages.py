"""What pages show beside a history: failures, alerts, incidents, operations, targets, workers, an audit."""

from typing import LiteralString

from cueapi.trio_asyncpg.connection import close, connect
from tests.benchmarks.scene import Scene
from tests.conftest import in_database
from tests.storage.own_postgres import OwnPostgres

# $1 the user.
ROWS: tuple[LiteralString, ...] = (
    # The busy cue has half of all executions; statuses and groups are uneven.
    "update executions set cue_id = (select min(id) from cues where user_id = $1)"
    " where user_id = $1 and right(id::text, 1) < '8'",
    "update executions set status = 'failed', outcome_success = false, outcome_state = null, dead_at = finished_at,"
    "       error_message = case when right(id::text, 3) < '8' then 'refused' else 'The handler answered 503.' end,"
    "       http_status = 503"
    " where user_id = $1 and right(id::text, 2) in ('00', '5a')",
    "update executions set outcome_state = 'reported_failure', outcome_success = false"
    " where id in (select id from executions where user_id = $1 and status = 'success' order by created_at limit 20)",
    "update executions set status = 'missed', outcome_state = null"
    " where id in (select id from executions where user_id = $1 and status = 'success' order by created_at limit 20)",
    "insert into attempts (execution_id, attempt, started_at, duration_ms, http_status, outcome)"
    " select id, 1, started_at, 40, http_status, 'success' from executions where user_id = $1",
    "update cues set callback_host = 'h' || right(id, 3)::int || '.example:443',"
    "       group_name = case when right(id, 4) = '0007' then 'rare' when right(id, 1) < '5' then 'many' end,"
    "       consecutive_failures = case when right(id, 2) = '03' then 3 else 0 end"
    " where user_id = $1",
    "update cues set status = 'paused', next_run = null where user_id = $1 and right(id, 1) = '9'",
    "update cues set budget_per = 'day', budget_max_runs = 5 where user_id = $1 and right(id, 2) = '42'",
    "insert into alerts (id, user_id, cue_id, alert_type, severity, message, acknowledged, created_at)"
    " select uuidv7(), $1, c.id, 'execution_failed', 'critical', c.name || ': refused', n > 1,"
    "        now() - n * interval '1 hour'"
    "   from cues c, generate_series(1, 5) n where c.user_id = $1",
    "insert into incidents (id, user_id, kind, subject, name, severity, title, cue_id, opened_at, resolved_at)"
    " select uuidv7(), $1, 'failing', c.id, c.name, 'critical', c.name || ' is failing', c.id,"
    "        now() - n * interval '1 hour', case when n > 1 then now() - (n - 1) * interval '1 hour' end"
    "   from cues c, generate_series(1, 5) n where c.user_id = $1",
    "insert into operations (id, user_id, kind, status, scope, rate, act, matched, matched_capped, finished_at)"
    " select uuidv7(), $1, 'replay', 'done', '{\"filter\": {\"group\": \"many\"}}', 50,"
    '        \'{"actor": {"kind": "key", "id": "1", "name": "ci"}, "reason": null}\', 10, false, now()'
    "   from generate_series(1, 500)",
    "insert into targets (user_id, host, state, reason, attempts, failures, next_probe_at)"
    " select $1, 'h' || n || '.example:443', case when n < 60 then 'open' else 'closed' end, 'refused', 12, 11,"
    "        now() + interval '1 day'"
    "   from generate_series(1, 200) n",
    "insert into workers (user_id, worker_id, handlers) select $1, 'worker ' || n, array['brief', 'sync']"
    "   from generate_series(1, 300) n",
    "insert into channels (id, user_id, kind, name, shown, config, confirmed_at, events)"
    " select uuidv7(), $1, 'slack', 'channel ' || n, 'https://hooks.example/…', sha512('x'), now(), '{opened}'"
    "   from generate_series(1, 20) n",
    "insert into mutes (user_id, scope, subject)"
    " select $1, 'cue', id from cues where user_id = $1 order by id limit 50",
    "insert into audit (user_id, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id, subject_name,"
    "                   changes)"
    " select $1, now() - n * interval '1 minute', 'key', '1', 'ci', 'cue.updated', 'cue',"
    "        'cue_' || lpad($1::bigint::text, 3, '0') || lpad((n % 10000)::text, 9, '0'), 'cue ' || n,"
    '        \'[{"path": "status", "from": "active", "to": "paused"}]\''
    "   from generate_series(1, 200000) n",
    "insert into tallies (user_id, bucket, status, count)"
    " select $1, five_minutes(now()) - n * interval '5 minutes', s, 7"
    "   from generate_series(0, 2300) n, unnest(array['success', 'failed', 'missed']) s",
)

IDS = """
select (select min(id) from cues where user_id = $1) as "busy cue",
       (select id::text from executions where user_id = $1 order by status, created_at limit 1) as execution,
       (select id::text from incidents where user_id = $1 limit 1) as incident,
       (select id::text from operations where user_id = $1 limit 1) as operation
"""


async def fill_pages(server: OwnPostgres, scene: Scene) -> dict[str, str]:
    """All that pages show of the user, who has cues and executions; the ids of one of each kind."""
    (row,) = await scene.database.fetch("select current_database() as name")
    # Half a million rows take longer than the product's patience with a statement.
    connection = await connect(in_database(server.dsn, row["name"]))
    for statement in ROWS:
        await connection.execute(statement, scene.user)
    await connection.execute("vacuum analyze")
    await close(connection)
    ids = await scene.database.fetch_one(IDS, scene.user)
    assert ids is not None
    return dict(ids.items())
