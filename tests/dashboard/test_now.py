"""The first page: one sentence that is true, and the evidence under it."""

import gzip
import re
from datetime import UTC, datetime, timedelta

import pytest
import trio

from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon
from tests.dashboard.browsing import Browser, browser, signed_in, text_of
from tests.storage.rows import add_cue, add_execution, ago

SOON = {"next_run": datetime.now(UTC) + timedelta(hours=2)}


async def test_an_empty_account_is_told_how_to_make_a_cue(person: Browser) -> None:
    page = await person.get("/ui")

    assert page.status_code == 200
    assert "No cues yet." in text_of(page)
    assert "curl -X POST http" in text_of(page)
    assert 'href="/ui/cues/new"' in page.text


async def test_the_first_line_says_that_all_is_fine(person: Browser, database: Database, user: int) -> None:
    found = []
    for _ in range(3):
        await add_cue(database, user, **SOON)
        found.append((await person.get("/ui")).text.partition("<title>")[2].partition(" ·")[0])

    assert found == ["Your cue is fine", "Both cues are fine", "All 3 cues are fine"]


async def test_a_failing_cue_is_named_with_its_reason_its_beginning_and_the_way_to_it(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(
        database, user, name="nightly", consecutive_failures=2, callback_host="agent.example.com:443", **SOON
    )
    ended = {"status": "failed", "attempts": 3, "http_status": 503, "error_message": "The handler answered 503."}
    times = [ago(hours=hours) for hours in (3, 2, 1)]
    for time in times:
        last = await add_execution(database, cue_id, **ended, created_at=time, finished_at=time)

    page = await person.get("/ui")

    assert f"1 cue is failing since {times[1]:%H:%M}" in text_of(page)
    assert "503 from agent.example.com · 3 attempts · 2 in a row" in text_of(page)
    assert f'href="/ui/executions/{last}"' in page.text
    assert f'href="/ui/cues/{cue_id}"' in page.text


@pytest.mark.parametrize(
    ("last", "fails"),
    [
        ({"status": "success"}, False),
        ({"status": "success", "outcome_deadline_at": ago(hours=-1)}, True),
        ({"status": "success", "outcome_attempt": 1, "outcome_state": "reported_failure"}, True),
        ({"status": "outcome_timeout"}, True),
    ],
    ids=["taken", "outcome awaited", "reported failed", "no outcome"],
)
async def test_a_cue_fails_until_its_handler_has_taken_its_work(
    person: Browser, database: Database, user: int, last: dict[str, object], fails: bool
) -> None:
    cue_id = await add_cue(database, user, consecutive_failures=1, **SOON)
    for hours, ended in ((2, {"status": "failed"}), (1, last)):
        await add_execution(
            database, cue_id, attempts=1, created_at=ago(hours=hours), finished_at=ago(hours=hours), **ended
        )
    await add_execution(database, cue_id, status="delivering", attempts=1, last_attempt_at=ago())

    pages = [text_of(await person.get(path)) for path in ("/ui", "/ui/cues", f"/ui/cues/{cue_id}")]

    assert ["1 cue is failing" in pages[0], *("▲ failing" in page for page in pages[1:])] == [fails] * 3


async def test_a_delivery_that_was_reported_as_failed_gives_its_error(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, consecutive_failures=1, **SOON)
    reported = {"outcome_attempt": 1, "outcome_state": "reported_failure", "outcome_error": "quota exceeded"}
    await add_execution(database, cue_id, status="success", attempts=1, http_status=200, finished_at=ago(), **reported)

    assert "quota exceeded" in text_of(await person.get("/ui"))


async def test_work_that_no_worker_claims_is_late(person: Browser, database: Database, user: int) -> None:
    cue_id = await add_cue(database, user, name="backup", transport="worker", **SOON)
    for _ in range(2):
        await add_execution(database, cue_id, ready_at=ago(minutes=5))

    text = text_of(await person.get("/ui"))

    assert "1 cue is late." in text
    assert "no worker has claimed it for 5 min" in text
    assert "2 executions wait" in text


async def test_what_runs_what_comes_next_and_what_is_newest_are_listed(
    person: Browser, database: Database, user: int
) -> None:
    names = [f"cue-{hours:02}" for hours in range(1, 13)]
    cues = [
        await add_cue(database, user, name=name, next_run=datetime.now(UTC) + timedelta(hours=at))
        for at, name in enumerate(names, 1)
    ]
    running = await add_execution(
        database, cues[0], status="delivering", attempts=2, last_attempt_at=ago(seconds=41), created_at=ago(minutes=2)
    )
    ended = [
        await add_execution(database, cues[11], status="success", attempts=1, finished_at=ago(), created_at=ago(days=1))
        for _ in range(55)
    ]

    page = await person.get("/ui")

    ahead = page.text.partition('id="next"')[2].partition("</section>")[0]
    assert [name for name in names if name in ahead] == names[:10]
    assert [ahead.index(name) for name in names[:10]] == sorted(ahead.index(name) for name in names[:10])
    assert f'id="running-{running}"' in page.text
    assert "attempt 2" in text_of(page)
    assert sum(f'id="execution-{one}"' in page.text for one in [running, *ended]) == 50


async def test_schedules_are_told_in_words_and_one_that_is_no_cron_as_it_stands(
    person: Browser, database: Database, user: int
) -> None:
    await add_cue(database, user, cron="0 9 * * 1-5", timezone="America/Los_Angeles", **SOON)
    await add_cue(database, user, cron="no cron", **SOON)
    await add_cue(database, user, schedule_type="once", cron=None, **SOON)

    ahead = text_of(await person.get("/ui")).partition("Next ")[2]

    assert "weekdays at 09:00, Los Angeles" in ahead
    assert "no cron" in ahead
    assert "once" in ahead


async def test_the_last_day_is_counted_by_the_rollup(person: Browser, database: Database, user: int) -> None:
    await add_cue(database, user, **SOON)
    for minutes, status, count, unsuccessful in (
        (5, "success", 1_204, 4), (5, "failed", 31, 0), (700, "missed", 2, 0), (700, "outcome_timeout", 1, 0),
        (1_500, "failed", 99, 0),
    ):  # fmt: skip
        await database.execute(
            "insert into tallies (user_id, bucket, status, count, unsuccessful, lag_sum, lag_max)"
            " values ($1, five_minutes($2), $3::text, $4::bigint, $5,"
            "         case $3 when 'missed' then 0 else 9 * $4::bigint end,"
            "         case $3 when 'missed' then null else 84 end)",
            user, ago(minutes=minutes), status, count, unsuccessful,
        )  # fmt: skip

    text = text_of(await person.get("/ui"))

    assert "1,200 succeeded ▲ 36 failed ◆ 2 missed" in text
    assert "late by at most 84 ms, 9 ms on average" in text
    assert "1,200 35 0 9 ms 84 ms" in text  # the table's row
    assert "0 1 2" in text


async def test_what_ended_is_told_of_days_and_weeks_too_by_the_hour_and_by_the_day(
    person: Browser, database: Database, user: int
) -> None:
    await add_cue(database, user, **SOON)
    for table, days, count in (
        ("tallies", 0, 1),
        ("tallies", 6, 20),
        ("hourly_tallies", 29, 300),
        ("hourly_tallies", 89, 4_000),
    ):
        await database.execute(
            f"insert into {table} (user_id, bucket, status, count, unsuccessful, lag_sum, lag_max)"
            " select $1, date_trunc('hour', now() - $2::int * interval '1 day', 'utc'), 'success', n, 0, n * 7, 84"
            "   from (select $3::bigint as n) given",
            user, days, count,
        )  # fmt: skip

    pages = {name: await person.get(f"/ui?range={name}") for name in ("24h", "7d", "30d", "90d")}
    unknown = await person.get("/ui?range=1y")

    told = {name: re.search(r"Last (\d+ \w+) .*? ● ([\d,]+) succeeded", text_of(page)) for name, page in pages.items()}
    assert {name: found and found.groups() for name, found in told.items()} == {
        "24h": ("24 hours", "1"), "7d": ("7 days", "21"), "30d": ("30 days", "321"), "90d": ("90 days", "4,321"),
    }  # fmt: skip
    day = ago(days=29).strftime("%Y-%m-%d")
    assert f"<title>{day}: 300 succeeded, 0 failed, 0 missed; late by 84 ms at most</title>" in pages["30d"].text
    assert pages["7d"].text.count('<tr id="bucket-') == 2
    assert 'href="/ui?range=30d" aria-current="page"' in pages["30d"].text
    assert (unknown.status_code, "There is no such range" in text_of(unknown)) == (400, True)


async def test_the_lag_of_the_newest_is_told_without_the_latest_twentieth(
    person: Browser, database: Database, user: int
) -> None:
    # Work of workers: what waits among it is claimed by nobody.
    cue_id = await add_cue(database, user, transport="worker", **SOON)
    # Of twenty the latest one is left out; none are those of a backfill, of days ago, and what has not begun.
    for number in range(20):
        due = ago(minutes=number)
        late = due + (timedelta(hours=1) if number == 7 else timedelta(milliseconds=10 * number))
        await add_execution(database, cue_id, scheduled_for=due, started_at=late, created_at=due)
    for other in ({"triggered_by": "backfill"}, {"created_at": ago(days=2)}, {"started_at": None}):
        long_ago = {"scheduled_for": ago(days=9), "started_at": ago(), "created_at": ago()}
        await add_execution(database, cue_id, **long_ago | other)
    await database.execute(
        "insert into tallies (user_id, bucket, status, count, lag_sum, lag_max)"
        " values ($1, five_minutes(now()), 'success', 20, 90, 7)",
        user,
    )

    assert "; 95 % of the newest 20 by at most 190 ms" in text_of(await person.get("/ui"))


async def test_a_full_page_has_at_most_sixty_kilobytes_compressed(
    person: Browser, database: Database, user: int
) -> None:
    cues = [
        await add_cue(database, user, name=f"cue number {number}", consecutive_failures=1, **SOON)
        for number in range(30)
    ]
    for cue_id in cues:
        failed = {"status": "failed", "attempts": 1, "finished_at": ago(), "error_message": f"why {cue_id}"}
        await add_execution(database, cue_id, **failed)
        await add_execution(database, cue_id, status="delivering", attempts=1, last_attempt_at=ago())
    await database.execute(
        "insert into tallies (user_id, bucket, status, count, lag_sum, lag_max)"
        " select $1, five_minutes(now()) - n * interval '5 minutes', s, 999 * random(), 9999 * random(), 99 * random()"
        "   from generate_series(-1, 287) n, unnest(array['success', 'failed', 'missed']) s",
        user,
    )

    page = await person.get("/ui")

    # Also where the next five minutes have begun meanwhile.
    assert page.text.count('class="reach"') >= 288
    assert page.text.count('id="failing-') == 20
    assert len(gzip.compress(page.content)) <= 60_000


async def test_a_fragment_has_the_regions_that_go_live_and_nothing_around_them(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, **SOON)
    await add_execution(database, cue_id)

    page = await person.get("/ui", X_Fragment="1")

    assert re.findall('class="(?:nav|top)"', page.text) == []
    for name in ("sentence", "troubles", "day", "running", "next", "feed"):
        assert f'data-live="{name}"' in page.text


async def test_nothing_of_other_accounts_is_shown(daemon: RunningDaemon, person: Browser, database: Database) -> None:
    other: Api = await daemon.api.register("other@example.com")
    (row,) = await database.fetch("select id from users where email = 'other@example.com'")
    cue_id = await add_cue(database, row["id"], name="their-secret", consecutive_failures=1, **SOON)
    await add_execution(database, cue_id, status="failed", attempts=1, finished_at=ago())
    theirs = await signed_in(daemon, other)

    assert "their-secret" in (await theirs.get("/ui")).text
    for path in ("/ui", "/ui/executions", f"/ui/executions?cue_id={cue_id}"):
        assert "their-secret" not in (await person.get(path)).text


async def test_pages_lead_to_the_sign_in_and_fragments_show_nothing(daemon: RunningDaemon) -> None:
    anyone = browser(daemon)

    for path in ("/ui", "/ui/executions", "/ui/alerts", "/ui/workers"):
        page, fragment = await anyone.get(path), await anyone.get(path, X_Fragment="1")
        assert (page.status_code, fragment.status_code, fragment.content) == (303, 401, b"")
        assert page.headers["Location"].startswith("/ui/sign-in?next=")


async def test_a_page_whose_statement_takes_too_long_says_so_and_the_statement_ends(
    person: Browser, database: Database
) -> None:
    # The daemon's own statements wait, too, and longer.
    waiting = (
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        "   and (query like '%from failing%' or query like '%left(case when e.outcome_attempt%')"
        "   and pid <> pg_backend_pid()"
    )
    with trio.fail_after(60):
        async with database.transaction() as tx:
            await tx.execute("lock table executions in access exclusive mode")
            page = await person.get("/ui")
            listed = await person.get("/ui/executions?since=2026-01-01&status=failed")
            while await database.fetch(waiting):
                await trio.sleep(0.05)

    assert (page.status_code, listed.status_code) == (503, 503)
    assert "within two seconds" in text_of(page)
    assert "Choose a cue, or a shorter time" in text_of(listed)
    assert 'value="2026-01-01"' in listed.text
    assert (await person.get("/ui")).status_code == 200
