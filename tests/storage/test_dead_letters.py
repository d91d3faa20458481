"""What is a dead letter, when it is one no more, and what the lists of an account with a long history read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import trio

from cueapi.domain.execution import attempt_failed, deadline_passed, unclaimed
from cueapi.domain.outcome import Report
from cueapi.domain.retry import NO_RETRY
from cueapi.storage import dead_letter_batches, dead_letters
from cueapi.storage.database import Database, Executor
from cueapi.storage.dead_letters import DeadFilter
from cueapi.storage.quarantine import quarantine_execution
from cueapi.storage.transitions import apply_transitions
from tests.conftest import in_database, say
from tests.storage.explaining import Explaining, explain, open_explaining
from tests.storage.rows import (
    add_cue,
    add_execution,
    add_user,
    ago,
    claim,
    claim_as_worker,
    fence_of,
    look_up,
    standing_of,
)
from tests.storage.test_transitions import report

GOOD, BAD = Report(success=True, result="done"), Report(success=False, error="no paper", retry=False)


async def dead_of(database: Database, user: int, **wanted: Any) -> list[UUID]:
    """The dead letters of an account, the newest first."""
    page = await dead_letters.page(database, DeadFilter(user, **wanted), before=None, limit=100)
    return [row.id for row in page.rows]


async def ended(database: Database, cue_id: str, said: Report, **columns: object) -> UUID:
    """An execution whose handler has reported *said*."""
    execution = await add_execution(database, cue_id, **columns)
    await claim(database)
    assert await report(database, execution, said)
    return execution


async def test_a_replay_that_waits_for_its_report_is_under_way(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    dead = await add_execution(database, cue_id, status="failed", attempts=1, finished_at=ago(), dead_at=ago())
    await add_execution(
        database, cue_id, status="success", attempts=1, finished_at=ago(), replayed_from=dead,
        outcome_deadline_at=ago(seconds=-60),
    )  # fmt: skip
    waiting = (await dead_letter_batches.of_ids(database, user=user, ids=[dead]))[dead]
    counted = await dead_letter_batches.count(database, DeadFilter(user))
    await database.execute("update executions set outcome_attempt = 1 where replayed_from is not null")
    reported = (await dead_letter_batches.of_ids(database, user=user, ids=[dead]))[dead]

    assert (waiting.has_replay_in_flight, reported.has_replay_in_flight) == (True, False)
    assert (counted.matched, counted.skipped) == (1, 1)


async def test_a_summary_is_of_the_newest_that_match_however_many_others_are_newer(database: Database) -> None:
    with trio.fail_after(20):
        user = await add_user(database)
        old, new = [await add_cue(database, user, max_attempts=1) for _ in range(2)]
        for cue in (old, old, new, new, new):
            await ended(database, cue, BAD)
        all_of_them = await dead_letters.summary(database, DeadFilter(user), most=3)
        matching = await dead_letters.summary(database, DeadFilter(user, cue_id=old), most=3)

    assert [(one.cue_id, one.count, one.truncated) for one in all_of_them] == [(new, 3, True)]
    assert [(one.cue_id, one.count, one.truncated) for one in matching] == [(old, 2, False)]


async def test_what_ends_without_success_is_a_dead_letter_and_what_its_user_asked_to_skip_is_none(
    database: Database,
) -> None:
    with trio.fail_after(20):
        user = await add_user(database)
        webhook = await add_cue(database, user, max_attempts=1)
        worker = await add_cue(database, user, transport="worker", max_attempts=1)
        failed = await ended(database, webhook, BAD)
        good = await ended(database, webhook, GOOD)
        silent = await add_execution(database, worker)
        await claim_as_worker(database, user)
        await database.execute(
            "update executions set outcome_deadline_at = now() - interval '1 second' where id = $1", silent
        )
        state = await standing_of(database, silent)
        await apply_transitions(database, [deadline_passed(state.fence, NO_RETRY)])
        missed = await add_execution(database, worker)
        await apply_transitions(database, [unclaimed((await standing_of(database, missed)).fence)])
        broken = await add_execution(database, webhook)
        await quarantine_execution(database, broken, reason="It cannot be read.")
        skipped = await add_execution(database, webhook, status="missed", finished_at=ago())

    assert set(await dead_of(database, user)) == {failed, silent, missed, broken}
    assert [(await look_up(database, one))["dead_at"] for one in (good, skipped)] == [None, None]


async def test_an_attempt_that_another_one_follows_is_no_dead_letter(database: Database) -> None:
    with trio.fail_after(20):
        user = await add_user(database)
        execution = await add_execution(database, await add_cue(database, user))
        await claim(database)
        await report(database, execution, Report(success=False, error="not yet"))

    assert await dead_of(database, user) == []


async def test_a_replay_that_succeeds_takes_its_origins_from_the_list(database: Database) -> None:
    with trio.fail_after(20):
        user = await add_user(database)
        cue_id = await add_cue(database, user, max_attempts=1)
        first, other = await ended(database, cue_id, BAD), await ended(database, cue_id, BAD)
        second = await ended(database, cue_id, BAD, triggered_by="replay", replayed_from=first)
        before = await dead_of(database, user)
        await ended(database, cue_id, GOOD, triggered_by="replay", replayed_from=second)

    assert before == [second, other, first]
    assert await dead_of(database, user) == [other]


async def test_what_was_replayed_with_success_before_it_came_to_nothing_is_no_dead_letter(database: Database) -> None:
    with trio.fail_after(20):
        user = await add_user(database)
        cue_id = await add_cue(database, user, max_attempts=1)
        first = await add_execution(
            database, cue_id, status="success", attempts=1, delivered_at=ago(), finished_at=ago(),
            outcome_deadline_at=ago(),
        )  # fmt: skip
        failed = await ended(database, cue_id, BAD, triggered_by="replay", replayed_from=first)
        await ended(database, cue_id, GOOD, triggered_by="replay", replayed_from=failed)
        state = await standing_of(database, first)
        await apply_transitions(database, [deadline_passed(state.fence, NO_RETRY)])

    assert (await look_up(database, first))["status"] == "outcome_timeout"
    assert await dead_of(database, user) == []


async def test_a_late_report_does_not_make_a_dismissed_one_a_dead_letter_again(database: Database) -> None:
    with trio.fail_after(20):
        user = await add_user(database)
        execution = await add_execution(database, await add_cue(database, user, max_attempts=1))
        await claim(database)
        await apply_transitions(
            database, [attempt_failed(await fence_of(database, execution), NO_RETRY, error="No answer.")]
        )
        await database.execute("update executions set dead_at = null where id = $1", execution)
        assert await report(database, execution, GOOD)

    assert await dead_of(database, user) == []


NAME = "cueapi_dead_letters"
FILL = (
    "insert into users (email, plan, webhook_secret)"
    " select 'user' || n, 'self_hosted', sha512('secret') from generate_series(1, 2) n",
    "alter table cues disable trigger all",
    "insert into cues (id, user_id, name, group_name, status, transport, schedule_type, cron, timezone, catchup,"
    "                  overlap, callback_url, callback_method, callback_host, payload, max_attempts, backoff_minutes,"
    "                  verification)"
    " select 'cue_' || lpad(n::text, 12, '0'), 1 + n % 2, 'cue ' || n, 'a', 'active', 'webhook', 'recurring',"
    "        '0 9 * * *', 'UTC', 'latest', 'allow', 'http://127.0.0.1:9/', 'POST', '127.0.0.1:9', '{}', 4, '{1,5,15}',"
    "        'none' from generate_series(1, 200) n",
    "alter table cues enable trigger all",
    # Half have failed, and all but 30 of each account were dismissed.
    "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, attempts,"
    "                        finished_at, payload, http_status, error_message, dead_at, created_at)"
    " select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,"
    "        'cue_' || lpad((1 + n % 200)::text, 12, '0'), 1 + (1 + n % 200) % 2, 'webhook', 'manual_fire', at,"
    "        case when n / 200 % 2 = 0 then 'failed' else 'success' end, at, 1, at, '{}', 503, 'no',"
    "        case when n % 2000 in (1, 2) then at end, at"
    "   from (select n, now() - n * interval '1 second' as at from generate_series(1, 60000) n) made",
    "vacuum analyze",
)


@pytest.fixture(scope="module")
def long_history(postgres_url: str, template: str) -> Iterator[str]:
    """A database with 60,000 executions, of which 30 of each account are dead letters."""
    say(postgres_url, f"drop database if exists {NAME}", f"create database {NAME} template {template}")
    dsn = in_database(postgres_url, NAME)
    say(dsn, *FILL)
    yield dsn
    say(postgres_url, f"drop database {NAME} with (force)")


@pytest.fixture
async def explaining(long_history: str) -> AsyncIterator[Explaining]:
    async with open_explaining(long_history) as opened:
        yield opened


def page_of(**wanted: Any) -> Callable[[Executor], Awaitable[object]]:
    return lambda db: dead_letters.page(db, DeadFilter(1, **wanted), before=UUID(int=2**128 - 1), limit=50)


ASKED: dict[str, Callable[[Executor], Awaitable[object]]] = {
    "dead letters": page_of(),
    "dead letters of a cue": page_of(cue_id="cue_000000000001"),
    "dead letters of a group": page_of(group="a"),
    "dead letters of a host": page_of(host="127.0.0.1:9"),
    "dead letters with a status and an error": page_of(http_status=503, error="no"),
    "dead letters with no status and no error": page_of(http_status="none", error="none"),
    "dead letters of a time": page_of(since=ago(days=1), until=ago()),
    "how many match": lambda db: dead_letter_batches.count(db, DeadFilter(1, group="a")),
    "the next of an operation": lambda db: dead_letter_batches.batch(
        db, DeadFilter(1, http_status=503), as_of=ago(days=-1), behind=UUID(int=7), limit=100
    ),
    "the next without an error": lambda db: dead_letter_batches.batch(
        db, DeadFilter(1, error="none"), as_of=ago(days=-1), behind=UUID(int=7), limit=100
    ),
    "their summary": lambda db: dead_letters.summary(db, DeadFilter(1)),
    "the summary of a group": lambda db: dead_letters.summary(db, DeadFilter(1, group="a")),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED.keys())
async def test_an_account_with_a_long_history_reads_its_dead_letters_only(
    explaining: Explaining, ask: Callable[[Executor], Awaitable[object]]
) -> None:
    plan = await explain(explaining, ask)

    # 30 dead letters; 200 cues where a plan reads all of them.
    assert "executions" not in plan.sequential, plan.text
    assert plan.rows <= 400, f"{plan.scans}\n{plan.text}"
