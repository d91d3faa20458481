"""A walk through the pages of a list meets each row once, whatever is added meanwhile."""

import re
from gzip import compress
from itertools import count

import trio

from cueapi.storage.database import Database
from tests.dashboard.browsing import Browser
from tests.storage.rows import add_cue

PAGES, ROWS, A_SECOND = 100, 50, 200

# $1 cue, $2 user, $3 how many.
ADD = """
insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, finished_at,
                        payload)
select uuidv7(), $1, $2, 'worker', 'manual_fire', now(), 'success', now(), now(), '{}' from generate_series(1, $3)
returning id
"""

ROW = re.compile(r'<tr id="execution-([0-9a-f-]{36})"')
NEXT = re.compile(r'href="([^"]*)" rel="next"')


async def test_a_walk_of_a_hundred_pages_skips_and_repeats_nothing_while_two_hundred_a_second_are_added(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user)
    before = {str(row["id"]) for row in await database.fetch(ADD, cue_id, user, PAGES * ROWS)}
    added, seen, pages, largest = 0, [], 0, 0

    async def add_on() -> None:
        nonlocal added
        begun = trio.current_time()
        for number in count(1):
            await database.execute(ADD, cue_id, user, A_SECOND // 20)
            added += A_SECOND // 20
            await trio.sleep_until(begun + number / 20)

    with trio.fail_after(120):
        async with trio.open_nursery() as adding:
            adding.start_soon(add_on)
            path: str | None = "/ui/executions"
            while path is not None:
                page = (await person.get(path)).text
                largest = max(largest, len(compress(page.encode())))
                seen += ROW.findall(page)
                further = NEXT.search(page)
                path, pages = further and further[1].replace("&amp;", "&"), pages + 1
            adding.cancel_scope.cancel()

    assert pages >= PAGES
    assert added > 0
    assert largest < 60_000
    assert len(seen) == len({*seen})
    assert before <= {*seen}
