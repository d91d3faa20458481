"""What a page reads: by indexes, of one account's rows, a page and little more; by first and by settled plans."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from attrs import field, frozen

from cueapi.dashboard.charts import RANGES
from cueapi.dashboard.dead_letters import COUNTED
from cueapi.storage import (
    accounts,
    api_keys,
    audit,
    browser_sessions,
    channels,
    dead_letters,
    incidents,
    mutes,
    operations,
)
from cueapi.storage.audit import AuditFilter
from cueapi.storage.dashboard import alerts, budgets, cues, execution, executions, now, targets, workers
from cueapi.storage.dashboard.alerts import AlertCursor
from cueapi.storage.dashboard.cues import CueSearch
from cueapi.storage.dashboard.executions import ExecutionFilter
from cueapi.storage.database import Executor, R
from cueapi.storage.dead_letters import DeadFilter
from cueapi.storage.incidents import IncidentFilter
from cueapi.storage.operations import OperationFilter
from tests.conftest import in_database, say
from tests.storage.explaining import Explaining, Plan, explain, open_explaining
from tests.storage.test_plans import PUT_BACK, QUARANTINE
from tests.storage.test_small_accounts import FILL, LARGE, SMALL

NAME = "cueapi_dashboard_plans"
# Of the large account's: every tenth cue fails, thousands of executions run or wait, half of the alerts are seen.
MORE = (
    "update cues set consecutive_failures = 3 where right(id, 1) = '0' or user_id = 2",
    "update cues set budget_per = 'day', budget_max_runs = 5 where right(id, 1) = '1' or user_id = 2",
    "update executions set status = 'delivering', claimed_by_worker = case when transport = 'worker' then 'w1' end"
    " where status = 'pending' and right(id::text, 1) in ('1', '2')",
    "insert into outbox (execution_id, cue_id, user_id, host, ready_at)"
    " select id, cue_id, user_id, 'host', ready_at from executions where transport = 'webhook' and finished_at is null",
    "update alerts set acknowledged = true where right(id::text, 1) < '8'",
    "insert into attempts (execution_id, attempt) select id, 1 from executions",
    # A group of five cues of each.
    "update cues set group_name = 'b' where right(id, 4) in ('0005', '1005', '2005', '3005', '4005') or user_id = 2",
    "update executions set status = 'failed', dead_at = finished_at, error_message = 'refused'"
    " where status = 'success' and right(id::text, 2) = '00'",
    "insert into operations (id, user_id, kind, status, scope, rate, act, matched, matched_capped, finished_at)"
    " select gen_random_uuid(), case when n % 2500 = 0 then 2 else 1 end, 'replay', 'done', '{}', 50, '{}', 1, false,"
    "        now() from generate_series(1, 5000) n",
    "insert into targets (user_id, host, state, reason, attempts, failures, next_probe_at)"
    " select case when n % 2500 = 0 then 2 else 1 end, 'host' || n, case when n % 50 = 0 then 'open' else 'closed' end,"
    "        'refused', 12, 11, now() from generate_series(1, 5000) n",
    "insert into mutes (user_id, scope, subject) select case when n % 20 = 0 then 2 else 1 end, 'group', 'g' || n"
    "  from generate_series(1, 40) n",
    "insert into channels (id, user_id, kind, name, shown, config, confirmed_at, events)"
    " select gen_random_uuid(), case when n % 20 = 0 then 2 else 1 end, 'slack', 'x', 'x', sha512('x'), now(),"
    "        '{opened}'"
    "   from generate_series(1, 40) n",
    "insert into tallies (user_id, bucket, status, count)"
    " select u, five_minutes(now()) - n * interval '5 minutes', s, 7"
    "   from generate_series(0, 2300) n, generate_series(1, 2) u, unnest(array['success', 'failed', 'missed']) s",
    "insert into hourly_tallies (user_id, bucket, status, count, unsuccessful, lag_sum)"
    " select u, date_trunc('hour', now()) - n * interval '1 hour', s, 7, 0, 0"
    "   from generate_series(192, 2200) n, generate_series(1, 2) u, unnest(array['success', 'failed', 'missed']) s",
)

Ask = Callable[[Executor, int], Awaitable[object]]

NOW = datetime.now(UTC)


def listed(**chosen: Any) -> Ask:
    return lambda db, user: executions.page(db, ExecutionFilter(user, **chosen))


def dead(**chosen: Any) -> Ask:
    return lambda db, user: dead_letters.page(db, DeadFilter(user, **chosen), before=None, limit=50)


def in_trouble(**chosen: Any) -> Ask:
    return lambda db, user: incidents.page(db, IncidentFilter(user, **chosen), before=None, limit=50)


def audited(**chosen: Any) -> Ask:
    return lambda db, user: audit.page(db, AuditFilter(user, **chosen), limit=50)


@frozen
class Counting:
    """Explains one statement of a read model, and answers the others as the database does."""

    explaining: Explaining
    number: int
    sent: list[str] = field(factory=list)

    async def fetch(self, statement: str, *values: object, row: type[R] | None = None) -> list[R]:
        """Explain, where it is that one's turn."""
        self.sent.append(statement)
        if len(self.sent) == self.number:
            return await self.explaining.fetch(statement, *values)
        found: list[R] = await self.explaining.connection.fetch(statement, *values, record_class=row)
        return found

    async def fetch_one(self, statement: str, *values: object, row: type[R] | None = None) -> R | None:
        """The first row, or None."""
        rows = await self.fetch(statement, *values, row=row)
        return rows[0] if rows else None


async def plans(explaining: Explaining, ask: Ask, user: int) -> list[Plan]:
    """The worse plan of each statement that *ask* sends."""
    counting = Counting(explaining, 0)
    await ask(counting, user)
    turns = [Counting(explaining, number) for number in range(1, len(counting.sent) + 1)]
    return [await explain(explaining, lambda _, turn=turn: ask(turn, user)) for turn in turns]


ONE = UUID("00000000-0000-7000-8000-000000000007")
PAGES: dict[str, Ask] = {
    **{name: partial(now.read, step=one.step, steps=one.steps) for name, one in RANGES.items()},
    "executions": listed(),
    "executions that failed": listed(status="failed"),
    "executions that succeeded": listed(status="success"),
    "executions that wait": listed(status="pending"),
    "executions with an outcome": listed(outcome_state="reported_success"),
    "executions of a cue": listed(cue_id="cue_000000004996"),
    "executions of a small group": listed(group="b"),
    "executions of a group without cues": listed(group="none"),
    "executions of an hour": listed(since=NOW - timedelta(hours=2), until=NOW - timedelta(hours=1)),
    "failed executions of an hour": listed(status="failed", since=NOW - timedelta(hours=2)),
    "executions far behind": listed(before=(NOW - timedelta(hours=50), ONE)),
    "successes far behind": listed(status="success", before=(NOW - timedelta(hours=50), ONE)),
    "executions until a time": listed(until=NOW - timedelta(hours=50)),
    "an execution": lambda db, user: execution.read(db, execution=ONE, user=user),
    "a payload": lambda db, user: execution.payload(db, execution=ONE, user=user),
    "alerts": lambda db, user: alerts.page(db, user=user),
    "alerts behind an open one": lambda db, user: alerts.page(
        db, user=user, behind=AlertCursor(False, NOW - timedelta(hours=1), ONE)
    ),
    "alerts behind an old one": lambda db, user: alerts.page(
        db, user=user, behind=AlertCursor(True, NOW - timedelta(hours=1), ONE)
    ),
    "workers": workers.read,
    "budgets": budgets.read,
    "cues": lambda db, user: cues.page(db, CueSearch(user)),
    "cues in a status": lambda db, user: cues.page(db, CueSearch(user, status="paused")),
    "cues far behind": lambda db, user: cues.page(db, CueSearch(user, before=(NOW - timedelta(hours=50), "cue_x"))),
    "a cue": lambda db, user: cues.show(db, cue_id=f"cue_00000000{4996 if user == SMALL else 10:04}", user=user),
    "dead letters": dead(),
    "dead letters of a cue": dead(cue_id="cue_000000004996"),
    "dead letters in vain": dead(http_status=418, error="never seen"),
    "incidents": in_trouble(status="open"),
    "incidents that are over": in_trouble(status="resolved"),
    "incidents of a kind": in_trouble(status="open", kind="failing"),
    "incidents of a cue": in_trouble(status="open", cue="cue_000000004996"),
    "operations": lambda db, user: operations.page(db, OperationFilter(user), before=None, limit=50),
    "an operation": lambda db, user: operations.show(db, ONE, user=user),
    "targets": lambda db, user: targets.read(db, user=user, after=None),
    "channels": channels.every,
    "audit": audited(),
    "audit of a subject": audited(subject="cue_000000004996"),
    "audit of an actor": audited(actor="key1"),
    "audit of an action": audited(action="cue.updated"),
    "keys": lambda db, user: api_keys.listed(db, user=user),
    "the account": accounts.profile,
    "sessions": browser_sessions.listed,
    "the session of a page": lambda db, _: browser_sessions.open_session(db, b"x", plans={}),
    "ids of cues in a status": lambda db, user: cues.ids_of(db, CueSearch(user, status="paused"), 100),
    "cues to act on": lambda db, user: cues.named(db, cue_ids=["cue_000000004996", "cue_000000000010"], user=user),
}


@pytest.fixture(scope="module")
def uneven(postgres_url: str, template: str) -> Iterator[str]:
    """A database in which one account has 200,000 executions, and another 25."""
    say(postgres_url, f"drop database if exists {NAME}", f"create database {NAME} template {template}")
    dsn = in_database(postgres_url, NAME)
    say(dsn, *QUARANTINE, *FILL, *MORE, *PUT_BACK, "vacuum analyze")
    yield dsn
    say(postgres_url, f"drop database {NAME} with (force)")


@pytest.fixture
async def explaining(uneven: str) -> AsyncIterator[Explaining]:
    async with open_explaining(uneven) as opened:
        yield opened


WITH_ITS_CUES: dict[str, Ask] = {
    "groups of dead letters": lambda db, user: dead_letters.summary(db, DeadFilter(user), most=COUNTED),
    "mutes": mutes.every,
}
"""Pages that name the cues of many rows: of the account that has nearly all cues, all may be read for that."""


@pytest.mark.parametrize("ask", WITH_ITS_CUES.values(), ids=WITH_ITS_CUES.keys())
async def test_many_rows_are_named_by_the_cues_of_the_account_and_by_no_scan_of_its_history(
    explaining: Explaining, ask: Ask
) -> None:
    (large,), (small,) = await plans(explaining, ask, LARGE), await plans(explaining, ask, SMALL)

    assert "executions" not in large.sequential, f"\n{large.text}"
    assert large.rows <= 15_000, f"{large.scans}\n{large.text}"
    assert small.sequential - {"mutes"} == set(), f"\n{small.text}"
    assert small.rows <= 250, f"{small.scans}\n{small.text}"


@pytest.mark.parametrize("ask", PAGES.values(), ids=PAGES.keys())
async def test_a_page_is_at_most_three_statements_that_read_little(explaining: Explaining, ask: Ask) -> None:
    large = await plans(explaining, ask, LARGE)
    small = await plans(explaining, ask, SMALL)

    assert len(large) <= 3
    for plan in [*large, *small]:
        assert plan.sequential == set(), f"\n{plan.text}"
        # The first page looks for what is late, and at the last sixty executions of twenty failing cues.
        assert plan.big_rows <= 2_500, f"{plan.scans}\n{plan.text}"
        assert plan.rows <= 2_700, f"{plan.scans}\n{plan.text}"
    for plan in small:
        assert plan.rows <= 250, f"{plan.scans}\n{plan.text}"


@pytest.mark.parametrize("name", RANGES)
async def test_the_rollup_is_read_by_an_index_from_the_beginning_of_the_range_on(
    explaining: Explaining, name: str
) -> None:
    wanted = RANGES[name]
    ask: Ask = lambda db, user: now.read(db, user, step=wanted.step, steps=wanted.steps)  # noqa: E731 (as in PAGES)
    *_, plan = await plans(explaining, ask, SMALL)

    scans = [line for line in plan.text.splitlines() if "tallies" in line]
    assert len(scans) >= 2
    assert all("tallies_pkey" in line and "ROW(user_id, " in line for line in scans), f"\n{plan.text}"


async def test_a_part_of_a_name_is_looked_for_in_the_cues_of_the_account_only(explaining: Explaining) -> None:
    ask: Ask = lambda db, user: cues.page(db, CueSearch(user, "nowhere to be found"))  # noqa: E731 (as in PAGES)
    large, small = await plans(explaining, ask, LARGE), await plans(explaining, ask, SMALL)

    # The large account has 4,995 of the 5,000 cues, the small one five.
    assert small[0].sequential == set()
    assert large[0].rows <= 5_000, f"\n{large[0].text}"
    assert small[0].rows <= 100, f"\n{small[0].text}"
