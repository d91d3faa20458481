"""Alerts are acknowledged one by one or all that are shown; workers show what they hold, and are removed."""

import re
from uuid import UUID, uuid4

from cueapi.dashboard.alerts import WORDS
from cueapi.domain.execution import AlertType
from cueapi.storage.dashboard import workers
from cueapi.storage.database import Database
from tests.conftest import RunningDaemon
from tests.dashboard.browsing import SAME_ORIGIN, Browser, signed_in, target, text_of
from tests.storage.rows import add_cue, add_execution, ago, insert

ALERT = re.compile(r'id="alert-([0-9a-f-]{36})"')
OLDER = re.compile(r'href="([^"]+)" rel="next"')


async def add_alert(database: Database, user: int, **columns: object) -> UUID:
    given = {"id": uuid4(), "user_id": user, "alert_type": "execution_failed", "severity": "critical", "message": "m"}
    given |= columns
    await database.execute(insert("alerts", given), *given.values())
    return UUID(str(given["id"]))


async def acknowledged(database: Database) -> set[UUID]:
    return {row["id"] for row in await database.fetch("select id from alerts where acknowledged")}


async def test_no_alerts_is_good_news(person: Browser) -> None:
    assert "No alerts: nothing has needed you." in text_of(await person.get("/ui/alerts"))


async def test_open_alerts_come_first_and_lead_to_what_they_are_about(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, name="nightly")
    execution = await add_execution(database, cue_id)
    seen = await add_alert(database, user, acknowledged=True, created_at=ago(minutes=1))
    old = await add_alert(database, user, created_at=ago(days=2), cue_id=cue_id, execution_id=execution)
    new = await add_alert(database, user, created_at=ago(days=1), cue_id=cue_id, alert_type="missed_run")
    await add_alert(database, user, created_at=ago(days=3), alert_type="worker_offline", message="w is silent")

    page = await person.get("/ui/alerts")

    assert ALERT.findall(page.text)[:2] == [str(new), str(old)]
    assert ALERT.findall(page.text)[-1] == str(seen)
    for link in (f"/ui/executions/{execution}", f"/ui/cues/{cue_id}", "/ui/workers"):
        assert f'href="{link}"' in page.text
    assert "Acknowledge all shown" in text_of(page)


async def test_an_alert_of_each_type_has_its_words(person: Browser, database: Database, user: int) -> None:
    for one in AlertType:
        await add_alert(database, user, alert_type=one)
    page = await person.get("/ui/alerts")

    assert page.status_code == 200
    assert len(ALERT.findall(page.text)) == len(AlertType)
    assert [word for word in WORDS.values() if word not in text_of(page)] == []


async def test_every_page_says_in_the_navigation_how_many_are_open(
    person: Browser, database: Database, user: int
) -> None:
    found = [re.findall(r'class="open-count">([^<]+)', (await person.get("/ui/workers")).text)]
    for number in (3, 97):
        for _ in range(number):
            await add_alert(database, user)
        await add_alert(database, user, acknowledged=True)
        found.append(re.findall(r'class="open-count">([^<]+)', (await person.get("/ui/workers")).text))

    assert found == [[], ["3"], ["99+"]]


async def test_one_alert_is_acknowledged_and_no_other(person: Browser, database: Database, user: int) -> None:
    one, _ = [await add_alert(database, user) for _ in range(2)]
    await person.get("/ui/alerts")

    answer = await person.post("/ui/alerts/acknowledge", {"alert": str(one), "back": "/ui/alerts"})

    assert target(answer) == "/ui/alerts"
    assert "Acknowledged." in text_of(await person.get("/ui/alerts"))
    assert await acknowledged(database) == {one}


async def test_all_that_are_shown_are_acknowledged_and_none_that_came_since(
    person: Browser, database: Database, user: int
) -> None:
    shown = [await add_alert(database, user, created_at=ago(minutes=at)) for at in range(60)]
    page = (await person.get("/ui/alerts")).text
    named = re.findall(r'name="alert" value="([^"]+)" form="acknowledge-all"', page)
    await add_alert(database, user)
    data = {"form_token": person.form_token, "alert": named}

    await person.send("POST", "/ui/alerts/acknowledge", data, **SAME_ORIGIN)

    assert await acknowledged(database) == set(shown[:50])
    assert "50 alerts are acknowledged." in text_of(await person.get("/ui/alerts"))


async def test_pages_of_alerts_go_from_the_open_ones_to_the_others(
    person: Browser, database: Database, user: int
) -> None:
    still_open = [await add_alert(database, user, created_at=ago(hours=at)) for at in range(1, 71)]
    seen = [await add_alert(database, user, created_at=ago(minutes=at), acknowledged=True) for at in range(1, 61)]

    path, walked = "/ui/alerts", []
    while path:
        page = (await person.get(path)).text
        walked.append(ALERT.findall(page))
        found = OLDER.search(page)
        path = found[1].replace("&amp;", "&") if found else ""

    assert [len(page) for page in walked] == [50, 50, 30]
    assert [one for page in walked for one in page] == [str(one) for one in [*still_open, *seen]]


async def test_alerts_of_others_are_neither_shown_nor_acknowledged(
    daemon: RunningDaemon, person: Browser, database: Database, user: int
) -> None:
    theirs = await add_alert(database, user, message="their trouble")
    other = await signed_in(daemon, await daemon.api.register("other@example.com"))

    page = await other.get("/ui/alerts")
    await other.post("/ui/alerts/acknowledge", {"alert": str(theirs)})

    assert "their trouble" not in page.text
    assert "0 of 1 are acknowledged. The others are not there any more." in text_of(await other.get("/ui"))
    assert await acknowledged(database) == set()


async def test_without_a_worker_the_page_says_how_one_calls(person: Browser) -> None:
    page = await person.get("/ui/workers")

    assert "No worker has called yet." in text_of(page)
    assert "/v1/worker/heartbeat" in page.text


async def test_a_worker_shows_its_age_its_handlers_and_what_it_holds(
    person: Browser, database: Database, user: int
) -> None:
    await database.execute(
        "insert into workers (user_id, worker_id, handlers, last_heartbeat) values"
        " ($1, 'mac', array(select 'h' || n from generate_series(1, 40) n), now()),"
        " ($1, 'pi', '{}', now() - interval '22 minutes')",
        user,
    )
    cue_id = await add_cue(database, user, name="embed", transport="worker")
    held = {"status": "delivering", "attempts": 2, "claimed_at": ago(minutes=3)}
    mine = await add_execution(database, cue_id, **held, claimed_by_worker="mac")
    stray = await add_execution(database, cue_id, **held, claimed_by_worker="gone")

    page = await person.get("/ui/workers")

    text = text_of(page)
    assert "● alive" in text
    assert "◆ silent 22 min ago" in text
    assert "h12 and 28 more" in text
    assert "h13" not in text
    assert f'href="/ui/executions/{mine}"' in page.text
    assert text.index("embed attempt 2, 3 min") < text.index("pi ")
    assert f'href="/ui/executions/{stray}"' in page.text
    assert "gone ◌ no heartbeat" in text


async def test_the_page_reads_of_each_worker_the_handlers_that_it_names(database: Database, user: int) -> None:
    await database.execute(
        "insert into workers (user_id, worker_id, handlers) values"
        " ($1, 'mac', array(select 'h' || n from generate_series(1, 1000) n))",
        user,
    )

    (worker,) = (await workers.read(database, user)).workers

    assert (worker.handlers, worker.handler_count) == ([f"h{number}" for number in range(1, 13)], 1_000)


async def test_a_worker_of_any_name_is_removed(person: Browser, database: Database, user: int) -> None:
    names = ["mac", "a b", "50%", "what?", "a/b", "größe", "<b>", "#1", "..", "%2e"]
    await database.execute(
        "insert into workers (user_id, worker_id) select $1, n from unnest($2::text[]) n", user, [*names, "kept"]
    )
    await person.get("/ui/workers")

    for name in names:
        answer = await person.post("/ui/workers/remove", {"worker": name})
        assert target(answer) == "/ui/workers", name

    assert [row["worker_id"] for row in await database.fetch("select worker_id from workers")] == ["kept"]
    missing = await person.post("/ui/workers/remove", {"worker": "mac"})
    assert (missing.status_code, "There is no such worker" in text_of(missing)) == (404, True)
