"""An account reads its own rows, also beside one that has nearly all: by the first plan and by the settled one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cueapi.storage import (
    alerts,
    api_keys,
    audit,
    channels,
    cues,
    execution_pages,
    histories,
    incidents,
    key_groups,
    mutes,
    operations,
    usage,
    worker_claims,
    workers,
)
from cueapi.storage.audit import AuditFilter
from cueapi.storage.cues import CueFilter
from cueapi.storage.database import Executor
from cueapi.storage.execution_pages import Filter
from cueapi.storage.incidents import IncidentFilter
from cueapi.storage.operations import OperationFilter
from cueapi.storage.worker_claims import ClaimRequest
from tests.conftest import in_database, say
from tests.storage.explaining import Explaining, Plan, explain, open_explaining
from tests.storage.rows import TERMS
from tests.storage.test_plans import PUT_BACK, QUARANTINE

NAME = "cueapi_small_accounts"
LARGE, SMALL = 1, 2
FILL = (
    "insert into users (email, plan, webhook_secret)"
    " select 'user' || n, 'self_hosted', sha512('secret') from generate_series(1, 2) n",
    # Statistics of all rows (300 × 700) and not of a sample: the same plans each time.
    "alter table executions alter column user_id set statistics 700",
    "alter table cues disable trigger all",
    # Of 5,000 cues the last five are the small account's; each second one is a worker's.
    "insert into cues (id, user_id, name, group_name, status, transport, schedule_type, cron, timezone, catchup,"
    "                  overlap,"
    "                  callback_url, callback_method, callback_host, payload, max_attempts,"
    "                  backoff_minutes, verification, next_run, created_at)"
    " select 'cue_' || lpad(n::text, 12, '0'), case when n > 4995 then 2 else 1 end, 'cue ' || n, 'a', 'active',"
    "        case when n % 2 = 0 then 'worker' else 'webhook' end, 'recurring', '0 9 * * *', 'UTC', 'latest', 'allow',"
    "        'http://127.0.0.1:9/', 'POST', '127.0.0.1:9', '{}', 4, '{1,5,15}', 'none',"
    "        now() + n * interval '1 second', now() - n * interval '1 minute'"
    "   from generate_series(1, 5000) n",
    "alter table cues enable trigger all",
    # Of 200,000 executions five of each of its cues are the small account's.
    "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at,"
    "                        finished_at, payload, outcome_state, created_at)"
    " select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'cue_' || lpad(c::text, 12, '0'),"
    "        case when c > 4995 then 2 else 1 end, case when c % 2 = 0 then 'worker' else 'webhook' end,"
    "        'manual_fire', at, s, at, case when s = 'success' then at end, '{}',"
    "        case when s = 'success' then 'reported_success' end, at"
    "   from (select n, case when n < 25000 then 1 + n % 5000 else 1 + n % 4995 end as c,"
    "                now() - n * interval '1 second' as at,"
    "                case when n < 20000 then 'pending' else 'success' end as s"
    "           from generate_series(1, 200000) n) made",
    "insert into alerts (id, user_id, cue_id, alert_type, severity, message, created_at)"
    " select gen_random_uuid(), case when n % 10000 = 0 then 2 else 1 end,"
    "        case when n % 10000 = 0 then 'cue_000000004996'"
    "             when n % 4 = 0 then 'cue_' || lpad((1 + n % 4995)::text, 12, '0') end,"
    "        'execution_failed', 'critical', 'x',"
    "        now() - n * interval '1 second' from generate_series(1, 30000) n",
    "insert into audit (user_id, at, actor_kind, actor_id, action, subject_kind, subject_id)"
    " select case when n % 3000 = 0 then 2 else 1 end, now() - n * interval '1 minute',"
    "        case when n % 4 = 0 then 'system' else 'key' end, case when n % 4 > 0 then 'key' || n % 3 end,"
    "        (array['cue.updated', 'cue.paused', 'cue.resumed'])[1 + n % 3], 'cue',"
    "        'cue_' || lpad((n % 5000)::text, 12, '0')"
    "   from generate_series(1, 60000) n",
    "insert into api_keys (hash, id, user_id, name, prefix, scopes, groups)"
    " select sha256(n::text::bytea), 'key_' || lpad(n::text, 12, '0'), case when n = 1 then 2 else 1 end, 'k', '',"
    "        '{read}', '{a}' from generate_series(1, 100) n",
    # Of 20,000 incidents two are the small account's; each tenth is not over.
    "insert into incidents (id, user_id, kind, subject, name, severity, title, cue_id, opened_at, resolved_at)"
    " select gen_random_uuid(), case when n % 10000 = 0 then 2 else 1 end, 'failing', n::text, 'x', 'critical', 'x',"
    "        'cue_' || lpad((1 + n % 5000)::text, 12, '0'), now() - n * interval '1 second',"
    "        case when n % 10 > 0 then now() end from generate_series(1, 20000) n",
    # Of 3,000 operations three are the small account's; each other one is of a group.
    "insert into operations (id, user_id, kind, scope, rate, act, matched, matched_capped, status,"
    "                        started_at, finished_at)"
    " select gen_random_uuid(), case when n % 1000 = 0 then 2 else 1 end, 'pause',"
    "        json_build_object('filter', json_build_object(case when n % 2 = 0 then 'group' else 'name' end, 'a')),"
    "        50, '{}', 1, false, 'done', now(), now() from generate_series(1, 3000) n",
    "insert into workers (user_id, worker_id) select case when n = 1 then 2 else 1 end, 'w' || n"
    "  from generate_series(1, 50) n",
)


@pytest.fixture(scope="module")
def uneven(postgres_url: str, template: str) -> Iterator[str]:
    """A database in which one account has 200,000 executions, and another 25."""
    say(postgres_url, f"drop database if exists {NAME}", f"create database {NAME} template {template}")
    dsn = in_database(postgres_url, NAME)
    say(dsn, *QUARANTINE, *FILL, *PUT_BACK)
    yield dsn
    say(postgres_url, f"drop database {NAME} with (force)")


@pytest.fixture
async def explaining(uneven: str) -> AsyncIterator[Explaining]:
    async with open_explaining(uneven) as opened:
        yield opened


Ask = Callable[[Executor, int], Awaitable[object]]


def listed(**chosen: Any) -> Ask:
    return lambda db, user: execution_pages.page(db, Filter(user, **chosen), limit=20, offset=0)


def listed_cues(**chosen: Any) -> Ask:
    return lambda db, user: cues.page(db, CueFilter(user, **chosen), limit=20, offset=0)


def acknowledging(groups: tuple[str, ...] | None = None) -> Ask:
    ids = [uuid4() for _ in range(100)]
    return lambda db, user: alerts.acknowledge_all(db, alerts=ids, user=user, groups=groups)


def listed_alerts(**chosen: Any) -> Ask:
    given: dict[str, Any] = {"alert_type": None, "since": None, "acknowledged": None, "before": None} | chosen
    return lambda db, user: alerts.page(db, user=user, **given, limit=20, offset=0)


def listed_audit(**chosen: Any) -> Ask:
    return lambda db, user: audit.page(db, AuditFilter(user, **chosen), limit=20)


LONG_AGO = datetime.now(UTC) - timedelta(days=20)


def listed_incidents(**chosen: Any) -> Ask:
    return lambda db, user: incidents.page(db, IncidentFilter(user, **chosen), before=None, limit=20)


def listed_operations(**chosen: Any) -> Ask:
    return lambda db, user: operations.page(db, OperationFilter(user, **chosen), before=None, limit=20)


STATEMENTS: dict[str, Ask] = {
    "executions": listed(),
    "executions that succeeded": listed(status="success"),
    "executions that wait": listed(status="pending"),
    "executions that failed": listed(status="failed"),
    "executions that were fired by hand": listed(triggered_by="manual_fire"),
    "executions with an outcome": listed(outcome_state="reported_success"),
    "executions of a group": listed(group="a"),
    "executions of a cue": listed(cue="cue_000000004996"),
    "executions of a cue's name": listed(cue_name="cue 4996"),
    "executions that failed or were missed": listed(statuses=("failed", "missed")),
    "executions that wait or succeeded": listed(statuses=("pending", "success")),
    "executions of a worker": listed(worker="w1"),
    "executions with evidence": listed(has_evidence=True),
    "executions without evidence": listed(has_evidence=False),
    "executions with a type of result": listed(result_type="pdf"),
    "cues": listed_cues(),
    "active cues": listed_cues(status="active"),
    "cues of a group": listed_cues(group="a"),
    "alerts": listed_alerts(),
    "alerts of a type": listed_alerts(alert_type="execution_failed"),
    "open alerts": listed_alerts(acknowledged=False),
    "incidents": listed_incidents(),
    "open incidents": listed_incidents(status="open"),
    "snoozed incidents": listed_incidents(status="snoozed"),
    "incidents that are over": listed_incidents(status="resolved"),
    "incidents of a kind": listed_incidents(kind="late"),
    "incidents of a cue": listed_incidents(cue="cue_000000004996"),
    "incidents of a group": listed_incidents(group="a"),
    "incidents of a key's groups": listed_incidents(groups=("a",)),
    "mutes": mutes.every,
    "mutes of a key's groups": lambda db, user: mutes.every(db, user, groups=("a",)),
    "operations": listed_operations(),
    "operations of a kind": listed_operations(kind="delete"),
    "operations of a key's groups": listed_operations(groups=("a", "b")),
    "channels": channels.every,
    "a cue's history": lambda db, user: histories.show(db, cue_id="cue_000000004996", user=user, limit=20, offset=0),
    "the audit": listed_audit(),
    "the audit of a cue": listed_audit(subject="cue_000000003000"),
    "the audit of an actor": listed_audit(actor="key0"),
    "the audit of an action": listed_audit(action="cue.updated"),
    "the audit of an action that came to pass long ago": listed_audit(action="cue.updated", until=LONG_AGO),
    "the audit of long ago": listed_audit(until=LONG_AGO),
    "the audit of a while": listed_audit(since=LONG_AGO, until=LONG_AGO + timedelta(days=1)),
    "the audit behind a row": listed_audit(behind=(LONG_AGO, 40_000)),
    "usage": usage.this_month,
    "workers": lambda db, user: workers.page(db, user, limit=100),
    "workers behind one": lambda db, user: workers.page(db, user, behind=(LONG_AGO, "w9"), limit=100),
    "claimable work": lambda db, user: worker_claims.claimable(db, user=user, task=None, most=50),
    "claimable work of an agent": lambda db, user: worker_claims.claimable(db, user=user, agent="a", most=50),
    "a worker's next": lambda db, user: worker_claims.claim_work(db, ClaimRequest(user, "w1", 20), TERMS),
    "executions for a key of groups": listed(groups=("a", "b")),
    "executions that wait or succeeded, for a key of groups": listed(groups=("a",), statuses=("pending", "success")),
    "cues for a key of groups": listed_cues(groups=("a", "b")),
    "alerts for a key of groups": listed_alerts(groups=("a", "b")),
    "acknowledging alerts": acknowledging(),
    "acknowledging alerts for a key of groups": acknowledging(("a", "b")),
    "claimable work for a key of groups": lambda db, user: worker_claims.claimable(
        db, user=user, groups=("a", "b"), most=50
    ),
    "a worker's next for a key of groups": lambda db, user: worker_claims.claim_work(
        db, ClaimRequest(user, "w1", 20, groups=("a", "b")), TERMS
    ),
    "keys": lambda db, user: api_keys.listed(db, user=user),
    "keys of groups": lambda db, user: api_keys.listed(db, user=user, groups=("a",)),
    "cues in groups": lambda db, user: key_groups.cues_of(db, user=user, groups=("a",), ids=["cue_000000004996"]),
}


@pytest.mark.parametrize("ask", STATEMENTS.values(), ids=STATEMENTS.keys())
async def test_what_a_small_account_asks_reads_no_other_accounts_rows(explaining: Explaining, ask: Ask) -> None:
    # What the server settles on where the other account asks is what this one's question is answered by.
    await explain(explaining, lambda db: ask(db, LARGE))
    plan: Plan = await explain(explaining, lambda db: ask(db, SMALL))

    # Its 25 executions with their cues, a few times over.
    assert plan.rows <= 250, f"{plan.scans}\n{plan.text}"


@pytest.mark.parametrize("ask", STATEMENTS.values(), ids=STATEMENTS.keys())
async def test_what_a_large_account_asks_reads_a_page_and_what_a_total_counts(explaining: Explaining, ask: Ask) -> None:
    plan: Plan = await explain(explaining, lambda db: ask(db, LARGE))

    # A total counts up to 10,001, each perhaps with its cue.
    assert plan.rows <= 35_000, f"{plan.scans}\n{plan.text}"
