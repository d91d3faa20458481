"""The database says no: what no reader of a row could work with cannot be stored, table by table."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import trio

from cueapi.domain.ids import new_uuid7
from cueapi.storage.database import Database, Duplicate, Unstorable
from cueapi.storage.session import prepare
from cueapi.trio_asyncpg.pool import open_pool
from tests.conftest import migrated
from tests.storage.rows import ONCE, add_cue, add_execution, add_user, ago, insert

BEYOND = ("'infinity'", "'-infinity'", "'4000-01-01 BC'", "'10000-01-01 00:00:00+00'")

REFUSED: dict[str, tuple[str, ...]] = {
    "users": (
        "webhook_secret = ''", "webhook_secret = 'whsec_a'", "webhook_secret = null",
        "previous_webhook_secret = 'whsec_'", "alert_webhook_secret = ''",
        "alert_webhook_url = ''",
        "active_cue_limit = -1", "live_cues = -1", "email = ''", "plan = ''",
        "sessions_valid_from = {beyond}", "grace_until = {beyond}", "created_at = {beyond}",
    ),
    "cues": (
        "name = ''", "name = repeat('n', 256)", "status = 'odd'", "transport = 'pigeon'", "schedule_type = 'odd'",
        "cron = null", "cron = ''", "schedule_at = now()", "schedule_type = 'once'", "timezone = ''", "timezone = null",
        "catchup = 'odd'", "overlap = 'odd'", "callback_url = null", "callback_host = null", "callback_url = ''",
        "callback_url = repeat('u', 2049)", "callback_method = 'TWO WORDS'", "callback_headers = '{{}}'",
        "payload = '[]'", "payload = null",
        "task = repeat('t', 256)", "max_attempts = 0", "max_attempts = 12", "max_attempts = -1",
        "backoff_minutes = '{{}}'", "backoff_minutes = '{{null}}'", "backoff_minutes = '{{-1}}'",
        "backoff_minutes = '{{1441}}'", "backoff_minutes = '{{{{1}},{{2}}}}'",
        "backoff_minutes = array_fill(1, array[11])", "on_failure_webhook = ''", "on_failure_pause = null",
        "on_failure_email = null", "verification = 'bogus'", "timeout_seconds = 0", "timeout_seconds = 3601",
        "timeout_seconds = -5", "outcome_deadline_seconds = 0", "outcome_deadline_seconds = 604801",
        "max_wait_seconds = 59", "max_wait_seconds = 604801",
        "alert_consecutive_failures = 0", "alert_consecutive_failures = 101", "alert_missed_window_multiplier = 0",
        "fired_count = -1", "run_count = -1", "consecutive_failures = -1", "revision = -1",
        "next_run = {beyond}", "schedule_local = 'infinity'", "next_local = '-infinity'", "planned_at = {beyond}",
        "last_run = {beyond}", "deleted_at = {beyond}",
    ),
    "executions": (
        "transport = 'pigeon'", "triggered_by = 'odd'", "status = 'retry_ready'", "attempts = -1", "attempts = 1001",
        "lost_claims = -1", "lost_claims = 1001", "outcome_attempt = -1", "outcome_attempt = 1001", "http_status = 99",
        "http_status = 1000", "payload = '3'", "task = repeat('t', 256)", "missed_runs = -1", "outcome_state = 'odd'",
        "validation_state = 'odd'", "scheduled_for = {beyond}", "ready_at = {beyond}", "lease_until = {beyond}",
        "outcome_deadline_at = {beyond}", "last_attempt_at = {beyond}", "created_at = {beyond}",
    ),
    "attempts": (
        "attempt = 0", "attempt = 1001", "duration_ms = -1", "http_status = 0", "started_at = {beyond}",
        "response_body = repeat('r', 2001)",
    ),
    "outbox": (
        "host = null", "claimed_by = 1", "lease_until = now()", "ready_at = {beyond}",
        "waits_until = {beyond}",
    ),
    "targets": (
        "state = 'odd'", "state = 'half_open'", "probe = gen_random_uuid()", "host = ''", "reason = repeat('r', 501)",
        "attempts = -1", "opens = -1", "since = {beyond}", "next_probe_at = {beyond}", "held_until = {beyond}",
    ),
    "daemons": ("free_since = {beyond}", "started_at = {beyond}"),
    "workers": (
        "worker_id = ''", "worker_id = repeat('w', 256)", "handlers = '{{null}}'", "last_heartbeat = {beyond}",
        "offline_alerted_at = {beyond}",
    ),
    "alerts": ("alert_type = 'odd'", "severity = 'odd'", "metadata = '[]'", "created_at = {beyond}"),
    "notifications": (
        "kind = 'pigeon'", "url = null", "content = '[]'", "attempts = -1", "claimed_by = 1",
        "claim = gen_random_uuid()", "lease_until = now()", "ready_at = {beyond}",
    ),
    "usage": ("executions = -1", "reported = -1", "succeeded = -1", "failed = -1"),
    "sign_in_links": ("email = ''", "email = repeat('e', 321)", "expires_at = {beyond}"),
    "browser_sessions": (
        "browser = repeat('b', 201)", "address = repeat('a', 201)", "seen_at = {beyond}", "created_at = {beyond}",
    ),
    "api_keys": (
        "id = 'key'", "id = 'key_A00000000000'", "name = ''", "name = repeat('n', 101)", "scopes = '{{}}'",
        "scopes = '{{root}}'", "scopes = '{{read,NULL}}'", "groups = '{{}}'", "groups = '{{A}}'",
        "groups = '{{a,NULL}}'", "groups = array_fill('a'::text, array[21])", "expires_at = {beyond}",
        "last_used_at = {beyond}", "last_used_from = repeat('a', 201)",
    ),
    "device_codes": ("code = 'short'", "code = 'a text with a link'", "status = 'odd'", "expires_at = {beyond}"),
}  # fmt: skip

CHANGES = [
    pytest.param(table, change.format(beyond=beyond), id=f"{table}: {change.format(beyond=beyond)}")
    for table, changes in REFUSED.items()
    for change in changes
    for beyond in (BEYOND if "{beyond}" in change else BEYOND[:1])
]


async def furnish(database: Database) -> None:
    """One row in each table."""
    user = await add_user(database)
    execution = await add_execution(database, await add_cue(database, user))
    rows: dict[str, dict[str, Any]] = {
        "attempts": {"execution_id": execution, "attempt": 1, "duration_ms": 5, "http_status": 200},
        "daemons": {"instance": "here"},
        "targets": {
            "user_id": user, "host": "h:1", "state": "open", "reason": "it answered 503", "attempts": 10,
            "failures": 10, "next_probe_at": ago(),
        },
        "workers": {"user_id": user, "worker_id": "w"},
        "alerts": {
            "id": new_uuid7(), "user_id": user, "alert_type": "missed_run", "severity": "critical", "message": "late",
        },
        "notifications": {"kind": "failure_webhook", "user_id": user, "url": "http://127.0.0.1:9/", "content": "{}"},
    }  # fmt: skip
    for table, columns in rows.items():
        await database.execute(insert(table, columns), *columns.values())
    await database.execute("insert into usage (user_id, month) values ($1, '2026-11-01')", user)
    await database.execute("insert into sign_in_links (token_hash, by_mail, expires_at) values ('', true, now())")
    await database.execute(
        "insert into api_keys (user_id, hash, id, name, prefix, scopes)"
        " values ($1, '', 'key_000000000000', 'ci', '', '{read}')",
        user,
    )
    await database.execute(
        "insert into browser_sessions (hash, user_id, key_hash, browser, address) values ('', $1, '', '', '')", user
    )
    await database.execute("insert into device_codes (code, status, expires_at) values ('ABCD-EFGH', 'pending', now())")


@pytest.fixture(scope="module")
def furnished_url(postgres_url: str, template: str) -> Iterator[str]:
    """A database with a row in each table. Changes that are refused leave it as it is."""

    async def fill(url: str) -> None:
        async with open_pool(url, size=1, init=prepare) as pool:
            await furnish(Database(pool))

    with migrated(postgres_url, template) as url:
        trio.run(fill, url)
        yield url


@pytest.fixture
async def furnished(furnished_url: str) -> AsyncIterator[Database]:
    async with open_pool(furnished_url, size=1, init=prepare) as pool:
        yield Database(pool)


@pytest.mark.parametrize(("table", "change"), CHANGES)
async def test_a_row_that_nothing_could_work_with_is_refused(furnished: Database, table: str, change: str) -> None:
    with pytest.raises(Unstorable) as refused:
        await furnished.execute(f"update {table} set {change}")

    assert isinstance(refused.value.__cause__, asyncpg.IntegrityConstraintViolationError)
    assert "DETAIL" not in str(refused.value)


async def test_what_every_column_may_hold_at_its_bounds_is_stored(database: Database) -> None:
    user = await add_user(database)

    for columns in (
        {
            "max_attempts": 11,
            "backoff_minutes": [0, 1440] * 5,
            "timeout_seconds": 3600,
            "name": "n" * 255,
            "max_wait_seconds": 60,
        },
        {"transport": "worker", "callback_url": None, "callback_host": None, "task": "t" * 255},
        {
            "callback_headers": '{"X-A": "5", "x-b": ""}',
            "outcome_deadline_seconds": 604_800,
            "max_wait_seconds": 604_800,
        },
        {"alert_consecutive_failures": 100, "alert_missed_window_multiplier": 1, **ONCE},
    ):
        await add_cue(database, user, **columns)
    for moment in ("0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"):
        await database.execute("update cues set next_run = $1::text::timestamptz", moment)

    assert await database.execute("update cues set last_run = next_run") == 4


async def test_two_cues_of_one_name_are_a_duplicate_and_no_value_that_cannot_be_stored(database: Database) -> None:
    user = await add_user(database)
    await add_cue(database, user, name="same")

    with pytest.raises(Duplicate):
        await add_cue(database, user, name="same")


async def test_a_row_of_a_user_that_is_not_there_cannot_be_stored(database: Database) -> None:
    with pytest.raises(Unstorable, match="foreign key"):
        await add_cue(database, 999)
