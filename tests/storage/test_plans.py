"""On tables of millions each statement of the running daemon reads what it needs, by an index, and little else."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from attrs import evolve

from cueapi.domain.attempt import Answered, Result, Unreachable, evaluate_attempt
from cueapi.domain.audit import SYSTEM
from cueapi.domain.catchup import FiringPlan, Occurrence
from cueapi.domain.execution import Transition
from cueapi.domain.retry import DEFAULT_RETRY, NO_RETRY, Retry
from cueapi.storage import (
    alerts,
    attempt_heartbeats,
    budgets,
    channels,
    cue_deletion,
    cues,
    daemons,
    due_cues,
    execution_pages,
    executions,
    fires,
    health,
    holds,
    incidents,
    janitor,
    outbox,
    report_states,
    target_pages,
    target_waits,
    targets,
    worker_claims,
    written_ahead,
    zone_changes,
)
from cueapi.storage.attempt_heartbeats import AttemptHeartbeat
from cueapi.storage.cues import CueFilter
from cueapi.storage.due_cues import DueCue
from cueapi.storage.execution_pages import Filter
from cueapi.storage.fires import ManualFire
from cueapi.storage.targets import TargetKey
from cueapi.storage.transitions import RECORD_FAILURES, apply_transitions, find_applied
from cueapi.storage.worker_claims import ClaimRequest
from tests.conftest import in_database, say
from tests.delivery.deliveries import delivery_of
from tests.storage.explaining import Explaining, explain, open_explaining
from tests.storage.rows import MONTHLY, TERMS, TIMES, headroom

NAME = "cueapi_plans"
BUSY_USER, USERS = 1, 20
NOW = datetime.now(UTC)

# What an executions row is, by its number: every 50th is a worker's that waits, every 400th a webhook that does, …
FILL = (
    "insert into users (email, plan, webhook_secret)"
    " select 'user' || n, 'self_hosted', sha512('secret') from generate_series(1, 20) n",
    "alter table cues disable trigger all",
    "insert into cues (id, user_id, name, status, transport, schedule_type, cron, timezone, catchup, overlap,"
    "                  callback_url, callback_method, callback_host, payload, max_attempts,"
    "                  backoff_minutes, verification, next_run, created_at, deleted_at, task)"
    " select 'cue_' || lpad(n::text, 12, '0'), case when n % 2 = 0 then 1 else 1 + n % 20 end, 'cue ' || n,"
    "        case when n % 50 = 0 then 'paused' else 'active' end,"
    "        case when n % 10 = 0 then 'worker' else 'webhook' end, 'recurring', '0 9 * * *', 'UTC', 'latest',"
    "        case when n % 7 = 0 then 'skip' else 'allow' end, 'http://127.0.0.1:9/', 'POST',"
    "        'host' || n % 500 || ':443', '{}', 4, '{1,5,15}', 'none',"
    "        case when n % 50 = 0 then null else now() - interval '1 minute' + n * interval '1 second' end,"
    "        now() - n * interval '1 minute',"
    "        case when n % 5000 = 1 then now() - interval '1 hour' end, 'task' || n % 50"
    "   from generate_series(1, 200000) n",
    "alter table cues enable trigger all",
    "update users u set live_cues = (select count(*) from cues c where c.user_id = u.id and c.deleted_at is null)",
    "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, attempts,"
    "                        claim, claimed_by_worker, claimed_at, lease_until, finished_at, payload, task,"
    "                        outcome_attempt, outcome_success, outcome_state, outcome_deadline_at, result_type,"
    "                        created_at)"
    " select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'cue_' || lpad(c::text, 12, '0'),"
    "        case when c % 2 = 0 then 1 else 1 + c % 20 end,"
    "        case when c % 10 = 0 then 'worker' else 'webhook' end,"
    "        case when n % 61 = 0 then 'manual_fire' else 'scheduled' end, at, s, at,"
    "        case when s = 'pending' then 0 else 1 end,"
    "        case when s = 'delivering' then ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid end,"
    "        case when s = 'delivering' or s = 'success' and c % 10 = 0 then 'w' || n % 9 end, null,"
    "        case when s = 'delivering' then now() + n % 900 * interval '1 second' end,"
    "        case when s in ('pending', 'retrying', 'delivering') then null else at + interval '3 seconds' end,"
    "        case when c % 10 = 0 then json_build_object('agent', 'agent' || c % 50) else '{}' end,"
    "        'task' || c % 50,"
    "        case when n % 3 = 0 and s = 'success' then 1 end, case when n % 3 = 0 and s = 'success' then true end,"
    "        case when n % 3 = 0 and s = 'success' then 'reported_success'"
    "             when n % 500 = 1 then 'verification_failed' end,"
    "        case when s = 'success' and n % 100 = 1 then now() + n % 3600 * interval '1 minute' end,"
    "        case when n % 3000 = 0 then 'video' when n % 3 = 0 then 'pdf' end, at"
    "   from (select n, 1 + n * 7919::bigint % 200000 as c,"
    "                now() - interval '100 days' + n * interval '8.64 seconds' as at,"
    "                case when n > 990000 and n % 10 < 5 then 'pending' when n > 995000 then 'retrying'"
    "                     when n > 985000 and n % 10 = 0 then 'delivering'"
    "                     when n % 40 = 3 then 'failed' when n % 90 = 4 then 'missed'"
    "                     when n % 900 = 5 then 'outcome_timeout' else 'success' end as s"
    "           from generate_series(1, 1000000) n) made",
    "insert into outbox (execution_id, cue_id, user_id, host, ready_at, claimed_by, lease_until)"
    " select id, cue_id, user_id, 'host' || id_no % 500 || ':443', ready_at,"
    "        case when status = 'delivering' then 1 end, case when status = 'delivering' then now() end"
    "   from (select *, row_number() over () as id_no from executions"
    "          where transport = 'webhook' and status in ('pending', 'retrying', 'delivering')) e",
    "insert into outbox (execution_id, cue_id, user_id, host, ready_at)"
    " select gen_random_uuid(), 'cue_' || lpad(n::text, 12, '0'), 1, 'later:443', now() + n * interval '1 second'"
    "   from generate_series(1, 60000) n",
    # What waits for a host that is down, and hosts that were down once.
    "insert into outbox (execution_id, cue_id, user_id, host, ready_at, waits_until)"
    " select gen_random_uuid(), 'cue_' || lpad(n::text, 12, '0'), 1, 'down:443', now() - interval '1 hour',"
    "        now() + n * interval '1 second' from generate_series(1, 20000) n",
    "update outbox set host = 'down:443', waits_until = now() - interval '1 second'"
    " where execution_id in (select o.execution_id from outbox o join executions e on e.id = o.execution_id"
    "                         where o.user_id = 1 and o.claimed_by is null order by o.execution_id limit 200)",
    "insert into targets (user_id, host, state, reason, attempts, failures, next_probe_at)"
    " values (1, 'down:443', 'open', 'it answered 503', 10, 10, now())",
    # Those that nothing waits for: one that active cues call, and one that only paused ones do.
    "update cues set callback_host = 'idle:443'"
    " where id < 'cue_000000003000' and user_id = 1 and transport = 'webhook'",
    "update cues set callback_host = 'paused:443', status = 'paused'"
    " where id > 'cue_000000198000' and user_id = 1 and transport = 'webhook'",
    "delete from outbox where cue_id > 'cue_000000198000'",
    "insert into targets (user_id, host, state, reason, attempts, failures, next_probe_at)"
    " select 1, host, 'open', 'it answered 503', 10, 10, now() from unnest('{idle:443,paused:443}'::text[]) as h(host)",
    "insert into targets (user_id, host, state, reason, attempts, failures, next_probe_at, held_until)"
    " select 1 + n % 20, 'host' || n || ':443', 'closed', 'it answered 503', 10, 10, now(), now() - interval '1 day'"
    "   from generate_series(1, 5000) n",
    # As many pages as a million attempts have, and alerts of years.
    "insert into attempts (execution_id, attempt, error) select id, 1, repeat('x', 500) from executions"
    " where id < '00000000-0000-7000-8000-00000000ffff'",
    "insert into alerts (id, user_id, execution_id, alert_type, severity, message, created_at)"
    " select gen_random_uuid(), 1 + n % 20, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,"
    "        'execution_failed', 'critical', repeat('x', 1000),"
    "        now() - interval '100 days' + n * interval '270 seconds'"
    "   from generate_series(1, 30000) n",
    "insert into audit (user_id, at, actor_kind, action, subject_kind)"
    " select 1 + n % 20, now() - n * interval '1 hour', 'system', 'cue.paused', 'cue' from generate_series(1, 20000) n",
    "insert into workers (user_id, worker_id) select 1, 'w' || n from generate_series(0, 8) n",
)

# Filled without indexes, which is several times as fast.
QUARANTINE = (
    "create table set_aside as select indexname, indexdef from pg_indexes i"
    " where schemaname = 'public' and tablename in ('executions', 'cues', 'outbox', 'attempts', 'alerts')"
    "   and not exists (select from pg_constraint c where c.conname = i.indexname)",
    "do $$ declare i record; begin"
    " for i in select indexname from set_aside loop execute 'drop index ' || i.indexname; end loop; end $$",
)
PUT_BACK = (
    "do $$ declare i record; begin for i in select indexdef from set_aside loop execute i.indexdef; end loop; end $$",
    "drop table set_aside",
    "analyze",
    "vacuum outbox",
)


@pytest.fixture(scope="session")
def filled(postgres_url: str, template: str) -> Iterator[str]:
    """A database with 1,000,000 executions, 200,000 cues and 75,000 rows in the outbox."""
    say(postgres_url, f"drop database if exists {NAME}", f"create database {NAME} template {template}")
    dsn = in_database(postgres_url, NAME)
    say(dsn, "set maintenance_work_mem = '256MB'", *QUARANTINE, *FILL, *PUT_BACK)
    yield dsn
    say(postgres_url, f"drop database {NAME} with (force)")


@pytest.fixture
async def explaining(filled: str) -> AsyncIterator[Explaining]:
    async with open_explaining(filled) as opened:
        yield opened


def execution(number: int) -> UUID:
    return UUID(int=0x7 << 76 | 0x8 << 60 | number)


def steps(result: Result, retry: Retry = DEFAULT_RETRY) -> list[Transition]:
    """A hundred attempts under way, and what they came to."""
    under_way = [
        evolve(delivery_of(retry=retry), execution_id=execution(number), claim=execution(number))
        for number in range(985_010, 986_010, 10)
    ]
    return [evaluate_attempt(one, result, duration=0.1, now=NOW) for one in under_way]


def failures() -> str:
    """A hundred attempts that failed for good, as the statement of their consequences is given them."""
    common = {"attempts": 1, "http_status": 500, "error": "no paper", "alert": "execution_failed"}
    records = [
        {"ord": number, "id": str(execution(number)), "missing": None, "consecutive_failures": 1} | common
        for number in range(985_010, 986_010, 10)
    ]
    return json.dumps(records)


async def fire_hundred(db: Explaining) -> None:
    """Fire a hundred cues, as the poll has read them."""
    rows = await db.connection.fetch(
        "select id, next_run, revision from cues"
        " where status = 'active' and deleted_at is null and next_run is not null order by id limit 100"
    )
    await due_cues.fire_due(
        db,
        [
            DueCue(row["id"], row["next_run"], row["revision"], FiringPlan((Occurrence(row["next_run"]),), None, NOW))
            for row in rows
        ],
        MONTHLY,
    )


async def begin_hundred(db: Explaining) -> None:
    """Begin to wait no longer for a target, of a hundred deliveries."""
    rows = await db.connection.fetch(
        "select o.execution_id from outbox o join executions e on e.id = o.execution_id"
        " where o.waits_until is not null order by o.execution_id limit 100"
    )
    await target_waits.begin_overdue(db, [row["execution_id"] for row in rows])


DOWN = TargetKey(BUSY_USER, "down:443")
EMPTY = headroom(256, per_host=64, per_user=128)
FULL = headroom(0, per_host=64, per_user=128, hosts={"host1:443": 64}, users={1: 128})
Ask = Callable[[Any], Awaitable[object]]
"""Asks an Explaining, as if it were a database."""


def heartbeat_of(number: int, attempt: int = 1) -> AttemptHeartbeat:
    """A heartbeat of that execution's handler, which tells something."""
    return AttemptHeartbeat(execution(number), attempt, 0.5, "half", 900.0, 14_400.0)


STATEMENTS: dict[str, tuple[Ask, int]] = {
    "the claim": (
        lambda db: outbox.claim_deliveries(db, daemon=1, headroom=EMPTY, times=TIMES, look_at=1024),
        6_000,
    ),
    "the claim past full lanes": (
        lambda db: outbox.claim_deliveries(
            db,
            daemon=1,
            headroom=headroom(20, per_host=64, per_user=128, hosts={"host1:443": 64}, users={1: 128}),
            times=TIMES,
            look_at=80,
        ),
        12_000,
    ),
    "which targets are held": (targets.held_targets, 10),
    "what waits for no target": (lambda db: target_waits.free_waiting(db, 10_000), 100),
    "what has waited for too long": (lambda db: target_waits.overdue(db, 100), 200),
    "a hundred that have": (
        lambda db: target_waits.begin_overdue(db, [execution(number) for number in range(100)]),
        300,
    ),
    # By their keys: locked, begun, freed, and looked for as orphans.
    "a hundred that have, and are begun": (begin_hundred, 700),
    "the claim of a probe": (
        lambda db: target_waits.claim_waiting(db, DOWN, daemon=1, headroom=headroom(1), times=TIMES),
        20,
    ),
    "closing what nothing calls": (lambda db: targets.close_abandoned(db, 100), 1_000),
    "the lock of a probe": (lambda db: targets.lock_for_probe(db, DOWN, longest_pause=900.0), 10),
    "closing a target": (lambda db: targets.close_target(db, DOWN, uuid4(), slow_start=6.0), 10),
    "due cues": (lambda db: due_cues.due(db, 500), 600),
    "how far ahead the next is": (due_cues.ahead, 100),
    "reminders": (lambda db: due_cues.reminders(db, 60.0), 200),
    "firing 100 cues": (fire_hundred, 1_500),
    "what is due": (lambda db: outbox.ready(db, 1024), 1_100),
    "accounts that wait": (lambda db: outbox.waiting_accounts(db, FULL, 5.0), 12_000),
    "what full hosts keep waiting": (lambda db: outbox.kept_waiting(db, FULL, 1.0), 12_000),
    "what was written without an answer": (lambda db: find_applied(db, steps(Answered(200))), 300),
    "DECIDE: 100 delivered": (lambda db: apply_transitions(db, steps(Answered(200))), 1_500),
    "DECIDE: 100 to be retried": (lambda db: apply_transitions(db, steps(Unreachable(""))), 1_500),
    "DECIDE: 100 failed": (lambda db: apply_transitions(db, steps(Unreachable(""), NO_RETRY)), 2_500),
    "what 100 failures lead to": (lambda db: db.execute(RECORD_FAILURES, failures()), 1_500),
    "DECIDE: one": (lambda db: apply_transitions(db, steps(Answered(200))[:1]), 20),
    "claimable": (lambda db: worker_claims.claimable(db, user=BUSY_USER, task=None, most=50), 200),
    "claimable of a task": (lambda db: worker_claims.claimable(db, user=BUSY_USER, task="task9", most=50), 200),
    "claimable of an agent": (lambda db: worker_claims.claimable(db, user=BUSY_USER, agent="agent9", most=50), 200),
    "a worker's next": (lambda db: worker_claims.claim_work(db, ClaimRequest(BUSY_USER, "w", 20), TERMS), 300),
    "a worker's next by its handlers": (
        lambda db: worker_claims.claim_work(db, ClaimRequest(BUSY_USER, "w", 20, ["task9", "task10"]), TERMS),
        3_000,
    ),
    "a worker's claim of one": (
        lambda db: worker_claims.claim_one(db, user=1, execution=execution(990_001), worker="w", terms=TERMS),
        10,
    ),
    "lost": (lambda db: daemons.lost(db, silent=[1], ours=2, held=[execution(7)]), 2_500),
    "an execution that is reported on": (lambda db: report_states.reported(db, execution(7), attempt=1), 10),
    "a handler's heartbeat": (lambda db: attempt_heartbeats.beat(db, heartbeat_of(7)), 10),
    "a handler's heartbeat of an earlier attempt": (lambda db: attempt_heartbeats.beat(db, heartbeat_of(7, 0)), 10),
    "what was written ahead": (written_ahead.put_right, 100),
    "cues that were planned ahead": (written_ahead.ahead_cues, 100),
    "cues for another tzdata": (lambda db: zone_changes.planned(db, ""), 1_500),
    "held by a daemon": (lambda db: daemons.held_by(db, 1), 2_500),
    "ended leases": (lambda db: daemons.ended_leases(db, 180.0), 2_000),
    "unclaimed": (lambda db: daemons.unclaimed(db, 900.0), 2_500),
    "overdue": (daemons.overdue, 1_000),
    "health counts": (health.counts, 60_000),
    "the janitor: history": (lambda db: db.execute(janitor.HISTORY, 1000), 12_000),
    "the janitor: cues": (lambda db: db.execute(janitor.CUES, 1000), 500),
    "the janitor: retention": (lambda db: db.execute(janitor.RETIRED, 1000, 90), 6_000),
    "the janitor: retention, nothing to do": (lambda db: db.execute(janitor.RETIRED, 1000, 120), 100),
    "the janitor: alerts": (lambda db: db.execute(janitor.RETIRED_ALERTS, 1000, 90), 3_000),
    "the janitor: the audit": (lambda db: db.execute(janitor.RETIRED_AUDIT, 1000, 400), 3_000),
    "the janitor: the audit, nothing to do": (lambda db: db.execute(janitor.RETIRED_AUDIT, 1000, 900), 10),
    "deleting a cue": (lambda db: cue_deletion.delete(db, cue_ids=["cue_000000000002"], user=1, act=SYSTEM), 20),
    "calling off what a deleted cue has": (lambda db: db.execute(cue_deletion.CALL_OFF, ["cue_000000000002"]), 20),
    "the janitor: incidents": (lambda db: db.execute(janitor.RETIRED_INCIDENTS, 1000, 90), 100),
    "what is over of silent workers": (incidents.tend, 100),
    "what channels are told": (channels.admit, 100),
    "firing by hand": (
        lambda db: fires.fire(db, cue_id="cue_000000000002", user=1, manual_fire=ManualFire(uuid4()), monthly=10**9),
        10,
    ),
    "what a release resumes": (lambda db: db.execute(holds.RESUME, [1]), 10),
    "the budgets of an account": (lambda db: budgets.listed(db, user=1, after=None, limit=100), 10),
    "one execution": (lambda db: executions.show(db, execution=execution(7), user=1), 10),
    "one execution with its payload": (lambda db: executions.detail(db, execution=execution(7), user=1), 10),
    "its attempts": (lambda db: executions.attempts(db, execution(7)), 10),
    "one cue": (lambda db: cues.show(db, cue_id="cue_000000000002", user=1), 10),
}


@pytest.mark.parametrize(("ask", "most"), STATEMENTS.values(), ids=STATEMENTS.keys())
async def test_a_statement_of_the_running_daemon_reads_by_an_index_what_it_needs(
    explaining: Explaining, ask: Ask, most: int
) -> None:
    plan = await explain(explaining, ask)

    assert plan.sequential == set(), f"\n{plan.text}"
    assert plan.rows <= most, f"{plan.scans}\n{plan.text}"


REPEATED = (
    "the claim", "the claim past full lanes", "due cues", "how far ahead the next is", "reminders", "firing 100 cues",
    "what is due", "accounts that wait", "what full hosts keep waiting", "what was written without an answer",
    "DECIDE: 100 delivered", "DECIDE: 100 to be retried", "DECIDE: 100 failed", "what 100 failures lead to",
    "DECIDE: one", "held by a daemon",
)  # fmt: skip
"""Those of the daemon's own connections, which have one plan for any values."""


@pytest.mark.parametrize("name", REPEATED)
async def test_a_statement_that_is_repeated_has_a_plan_for_any_values_that_is_as_good(filled: str, name: str) -> None:
    ask, most = STATEMENTS[name]
    async with open_explaining(filled, repeats=True) as explaining:
        plan = await explain(explaining, ask)

    assert plan.sequential == set(), f"\n{plan.text}"
    assert plan.rows <= most, f"{plan.scans}\n{plan.text}"


@pytest.mark.parametrize(
    ("name", "table", "rows"),
    [
        ("firing 100 cues", "executions", 100),
        ("a hundred that have, and are begun", "outbox", 100),
        ("the claim of a probe", "executions", 1),
        ("DECIDE: 100 delivered", "attempts", 100),
        ("deleting a cue", "cues", 1),
    ],
)
async def test_a_statement_that_is_explained_does_its_work(
    explaining: Explaining, name: str, table: str, rows: int
) -> None:
    plan = await explain(explaining, STATEMENTS[name][0])

    assert plan.written.get(table) == rows, plan.text


FILTERS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "a cue": {"cue": "cue_000000000002"},
    "success": {"status": "success"},
    "failed": {"status": "failed"},
    "pending": {"status": "pending"},
    "retry_ready": {"status": "retry_ready"},
    "retrying": {"status": "retrying"},
    "an outcome state": {"outcome_state": "reported_success"},
    "a rare outcome state": {"outcome_state": "verification_failed"},
    "one that nothing has": {"outcome_state": "verification_pending"},
    "scheduled": {"triggered_by": "scheduled"},
    "by hand": {"triggered_by": "manual_fire"},
    "replays, of which there are none": {"triggered_by": "replay"},
    "since": {"since": datetime(2026, 1, 1, tzinfo=UTC)},
    "until": {"until": datetime(2020, 1, 1, tzinfo=UTC)},
    "the name of a cue": {"cue_name": "cue 2"},
    "a name that no cue has": {"cue_name": "none"},
    "what did not succeed": {"statuses": ("failed", "missed", "outcome_timeout")},
    "what succeeded or failed": {"statuses": ("failed", "success")},
    "what is open": {"statuses": ("delivering", "pending", "retry_ready", "retrying")},
    "a rare status and one that nothing has": {"statuses": ("outcome_timeout", "retry_ready")},
    "a worker": {"worker": "w3"},
    "a worker that has nothing": {"worker": "none"},
    "evidence": {"has_evidence": True},
    "no evidence": {"has_evidence": False},
    "a type of result": {"result_type": "pdf"},
    "a rare type of result": {"result_type": "video"},
    "a type that nothing has": {"result_type": "none"},
    "a cue and a status": {"cue": "cue_000000000002", "status": "failed"},
}
PAGES = [(name, user) for name in FILTERS for user in (BUSY_USER, 6)]


@pytest.mark.parametrize(("name", "user"), PAGES, ids=[f"{name}, user {user}" for name, user in PAGES])
async def test_the_first_page_of_executions_is_read_by_an_index(explaining: Explaining, name: str, user: int) -> None:
    wanted = Filter(user, **FILTERS[name])

    plan = await explain(explaining, lambda db: execution_pages.page(db, wanted, limit=20, offset=0))

    # The total is counted up to 10,001, each with its cue.
    assert plan.sequential == set(), f"\n{plan.text}"
    assert plan.rows <= 35_000, f"{plan.scans}\n{plan.text}"


@pytest.mark.parametrize("number", [900_000, 1_000], ids=["near the first page", "far behind it"])
async def test_a_page_behind_a_cursor_is_as_cheap_wherever_it_lies(explaining: Explaining, number: int) -> None:
    moment = await explaining.connection.fetchval("select created_at from executions where id = $1", execution(number))
    wanted = Filter(BUSY_USER, before=(moment, execution(number)))

    plan = await explain(explaining, lambda db: execution_pages.page(db, wanted, limit=20, offset=0))

    assert plan.sequential == set(), f"\n{plan.text}"
    assert plan.rows <= 35_000, f"{plan.scans}\n{plan.text}"


@pytest.mark.parametrize(
    "chosen",
    [{}, {"status": "active"}, {"status": "paused"}, {"status": "failed"}, {"name": "cue 2"}, {"group": "none"}],
    ids=str,
)
async def test_a_page_of_cues_is_read_by_an_index(explaining: Explaining, chosen: dict[str, str]) -> None:
    plan = await explain(explaining, lambda db: cues.page(db, CueFilter(BUSY_USER, **chosen), limit=20, offset=0))

    assert plan.sequential == set(), f"\n{plan.text}"
    # Every other cue is his, and 10,001 are counted.
    assert plan.rows <= 25_000, f"{plan.scans}\n{plan.text}"


async def test_a_page_of_alerts_is_read_by_an_index(explaining: Explaining) -> None:
    plan = await explain(
        explaining,
        lambda db: alerts.page(
            db, user=1, alert_type=None, since=None, acknowledged=None, before=None, limit=20, offset=0
        ),
    )

    assert plan.sequential == set(), f"\n{plan.text}"
    assert plan.rows <= 11_000, f"{plan.scans}\n{plan.text}"


@pytest.mark.parametrize("state", [None, "open", "closed"])
async def test_a_page_of_targets_is_read_by_an_index_whatever_number_of_cues_there_is(
    explaining: Explaining, state: str | None
) -> None:
    plan = await explain(
        explaining, lambda db: target_pages.page(db, user=BUSY_USER, state=state, after=None, limit=20)
    )

    # Of each host 10,000 waiting deliveries and cues are counted at most.
    assert plan.sequential == set(), f"\n{plan.text}"
    assert plan.rows <= 25_000, f"{plan.scans}\n{plan.text}"


@pytest.mark.parametrize("user", [BUSY_USER, 6])
async def test_lists_that_are_not_counted_read_a_page_and_no_more(explaining: Explaining, user: int) -> None:
    no_filter: dict[str, None] = dict.fromkeys(("alert_type", "since", "acknowledged", "before"))
    plans = [
        await explain(explaining, lambda db: execution_pages.page(db, Filter(user), limit=20, offset=0, counted=False)),
        await explain(explaining, lambda db: cues.page(db, CueFilter(user), limit=20, offset=0, counted=False)),
        await explain(
            explaining, lambda db: alerts.page(db, user=user, **no_filter, limit=20, offset=0, counted=False)
        ),
    ]

    assert [plan.sequential for plan in plans] == [set()] * 3
    assert [plan.text for plan in plans if plan.rows > 300] == []
