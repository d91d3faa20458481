"""The list of executions: filters in the URL, a walk that skips nothing, replays of what was selected."""

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
import trio

from cueapi.dashboard.paths import read_cursor, write_cursor
from cueapi.storage.dashboard import executions
from cueapi.storage.dashboard.executions import ExecutionFilter
from cueapi.storage.database import Database
from tests.dashboard.browsing import SAME_ORIGIN, Browser, target, text_of
from tests.storage.rows import add_cue, add_execution, add_user, ago

ROW = re.compile(r'id="execution-([0-9a-f-]{36})"')
OLDER = re.compile(r'href="([^"]+)" rel="next"')
FINAL = {"attempts": 1, "finished_at": ago()}

MANY = (
    "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, payload,"
    "                        finished_at, created_at)"
    " select gen_random_uuid(), $1, $2, 'webhook', 'manual_fire', now(), 'success', now(), '{}', now(),"
    "        now() - n / 3 * interval '1 second' from generate_series(1, $3::int) n"
)


def rows(page: str) -> list[str]:
    return ROW.findall(page)


async def test_an_account_that_fired_nothing_is_told_what_to_do(person: Browser) -> None:
    page = await person.get("/ui/executions")

    assert "No cue has fired yet." in text_of(page)
    assert 'href="/ui/cues"' in page.text


FILTERS = {
    "status=failed": ["failed"],
    "status=retrying": ["ready", "retrying"],
    "outcome_state=verified_success": ["verified"],
    "cue_id={other}": ["other"],
    "cue_id=cue_none": [],
    "group=night": ["other", "ready"],
    "group=nobody&status=failed": [],
    "since=2026-03-01": ["failed", "other", "ready", "retrying", "verified"],
    "until=2026-02-01T00:00:00Z": ["old"],
    "since=2026-01-01&until=2026-02-01&status=success": ["old"],
    "status=": ["failed", "old", "other", "ready", "retrying", "verified"],
}


@pytest.mark.parametrize(("query", "wanted"), FILTERS.items(), ids=FILTERS.keys())
async def test_each_filter_shows_what_it_says(
    person: Browser, database: Database, user: int, query: str, wanted: list[str]
) -> None:
    cue_id, other = await add_cue(database, user), await add_cue(database, user, group_name="night")
    later = datetime(2100, 1, 1, tzinfo=UTC)
    made = {
        "failed": await add_execution(database, cue_id, status="failed", **FINAL),
        "retrying": await add_execution(database, cue_id, status="retrying", attempts=1, ready_at=later),
        "ready": await add_execution(database, other, transport="worker", status="retrying", attempts=1),
        "verified": await add_execution(
            database, cue_id, status="success", outcome_state="verified_success", **FINAL
        ),
        "other": await add_execution(database, other, status="success", **FINAL),
        "old": await add_execution(
            database, cue_id, status="success", created_at=datetime(2026, 1, 15, tzinfo=UTC), **FINAL
        ),
    }  # fmt: skip
    if query == "cue_id={other}":
        wanted = ["other", "ready"]

    page = await person.get(f"/ui/executions?{query.format(other=other)}")

    assert page.status_code == 200
    assert sorted(rows(page.text)) == sorted(str(made[name]) for name in wanted)
    if not wanted:
        assert "No execution fits these filters" in text_of(page)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("since=yesterday", "is not a moment"),
        ("until=99999-01-01", "is not a moment"),
        ("status=done", "is none of pending"),
        ("outcome_state=%3Cb%3E", "is none of reported_success"),
    ],
)
async def test_a_filter_that_cannot_be_read_is_told_beside_its_field_and_lists_nothing(
    person: Browser, database: Database, user: int, query: str, message: str
) -> None:
    await add_execution(database, await add_cue(database, user), status="success", **FINAL)

    page = await person.get(f"/ui/executions?{query}&cue_id=kept")

    assert page.status_code == 400
    assert message in text_of(page)
    assert 'aria-invalid="true"' in page.text
    assert 'value="kept"' in page.text
    assert rows(page.text) == []


@pytest.mark.parametrize("cursor", ["x", "1-2", "9" * 18 + "-" + "0" * 32, "-1-" + "0" * 32, "١-" + "0" * 32])
async def test_a_damaged_link_into_the_list_is_a_page_that_says_so(person: Browser, cursor: str) -> None:
    page = await person.get(f"/ui/executions?cursor={cursor}")

    assert page.status_code == 400
    assert "begin at its first page" in text_of(page)


def test_a_cursor_gives_back_the_row_it_was_written_of() -> None:
    at, identity = datetime(2026, 11, 29, 20, 15, 3, 123456, tzinfo=UTC), UUID(int=7)

    assert read_cursor(write_cursor(at, identity)) == (at, identity, False)
    assert read_cursor(write_cursor(at, identity, True)) == (at, identity, True)
    assert read_cursor(write_cursor(datetime(1, 1, 1, tzinfo=UTC).replace(year=1970), identity)) is not None
    assert read_cursor("") is None


async def test_pages_follow_each_other_to_the_last_one(person: Browser, database: Database, user: int) -> None:
    await database.execute(MANY, await add_cue(database, user), user, 130)

    path, pages = "/ui/executions?status=success", []
    while path:
        page = (await person.get(path)).text
        pages.append(rows(page))
        found = OLDER.search(page)
        path = found[1].replace("&amp;", "&") if found else ""

    walked = [one for page in pages for one in page]
    wanted = await database.fetch("select id from executions order by created_at desc, id desc")
    assert [len(page) for page in pages] == [50, 50, 30]
    assert walked == [str(row["id"]) for row in wanted]


async def test_a_walk_of_a_hundred_pages_skips_and_repeats_nothing_while_others_arrive(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    await database.execute(MANY, cue_id, user, 5_000)
    wanted = [row["id"] for row in await database.fetch("select id from executions order by created_at desc, id desc")]

    async def arrive() -> None:
        while True:
            await add_execution(database, cue_id)
            await trio.sleep(0.005)

    walked, before, pages = [], None, 0
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arrive)
            has_more = True
            while has_more:
                page = await executions.page(database, ExecutionFilter(user, before=before))
                walked += [line.id for line in page.lines]
                before, has_more = (page.lines[-1].created_at, page.lines[-1].id), page.has_more
                pages += 1
            nursery.cancel_scope.cancel()

    present = set(wanted)
    assert pages >= 100
    assert [one for one in walked if one in present] == wanted


async def test_exactly_what_was_selected_is_replayed_and_a_second_click_replays_nothing(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, transport="worker", callback_url=None, callback_host=None)
    made = [await add_execution(database, cue_id, status="failed", **FINAL) for _ in range(3)]
    page = (await person.get("/ui/executions?status=failed")).text
    nonce = re.search(r'name="nonce" value="(\w+)"', page)
    assert nonce is not None
    back = "/ui/executions?status=failed"
    form = {
        "form_token": person.form_token, "nonce": nonce[1], "back": back,
        "execution": [str(one) for one in made[:2]],
    }  # fmt: skip

    answers = [await person.send("POST", "/ui/executions/replay", form, **SAME_ORIGIN) for _ in range(2)]

    repeated = await database.fetch("select replayed_from from executions where replayed_from is not null")
    assert [target(answer) for answer in answers] == [back, back]
    assert {row["replayed_from"] for row in repeated} == set(made[:2])
    assert len(repeated) == 2
    assert "Replayed: 2 new executions." in text_of(await person.get(back))


async def test_a_selection_that_is_partly_refused_says_how_many_were_replayed(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, transport="worker", callback_url=None, callback_host=None)
    done = await add_execution(database, cue_id, status="failed", **FINAL)
    waiting = await add_execution(database, cue_id)
    form = {"form_token": person.form_token, "nonce": "n", "back": "https://evil.example/"}

    none = await person.send("POST", "/ui/executions/replay", form, **SAME_ORIGIN)
    said = [text_of(await person.get(target(none)))]
    form |= {"execution": [str(done), str(waiting), "made-up"]}  # type: ignore[dict-item]
    some = await person.send("POST", "/ui/executions/replay", form, **SAME_ORIGIN)
    said.append(text_of(await person.get(target(some))))

    assert target(some) == "/ui"
    assert "No execution was selected." in said[0]
    assert "1 of 3 were replayed." in said[1]
