"""A page whose statement takes longer than two seconds says so, with what can be narrowed, and keeps what was typed."""

import trio

from cueapi.storage.database import Database
from tests.dashboard.browsing import Browser, text_of
from tests.storage.rows import add_cue

LOCK = "lock table cues, incidents, audit, operations, targets, channels, mutes, budgets in access exclusive mode"
"""What the pages read, and the statement of their session does not."""

PAGES = {
    "/ui": "The list of executions can be filtered",
    "/ui/cues?q=brief": "Filter the cues by a status, or by another name.",
    "/ui/executions?group=night": "Choose a cue, or a shorter time",
    "/ui/dead": "Choose a cue, or a shorter time.",
    "/ui/dead?host=a.example:443": "Choose a cue, or a shorter time.",
    "/ui/incidents?kind=late": "Choose a cue, or a kind",
    "/ui/account/audit?subject_id=cue_1": "Name a subject or an actor, or choose a shorter time",
    "/ui/alerts": "try again in a moment",
    "/ui/workers": "try again in a moment",
    "/ui/operations": "try again in a moment",
    "/ui/targets": "try again in a moment",
    "/ui/channels": "try again in a moment",
    "/ui/mutes": "try again in a moment",
    "/ui/account/budgets": "try again in a moment",
    "/ui/cues/{cue}": "try again in a moment",
}
"""What each page advises; its filters, where it has some, stand in it as they were typed."""

EMPTY = ("Nothing that failed is left undone", "fits these filters", "No incident", "No cue", "No alerts", "Nothing is")
"""What a page says where there is nothing, which is not known here."""


async def test_every_list_whose_statement_is_cancelled_says_what_to_narrow(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user)
    pages = {}

    async def look(path: str) -> None:
        pages[path] = await person.get(path.replace("{cue}", cue_id))

    with trio.fail_after(60):
        async with database.transaction() as tx:
            await tx.execute(LOCK)
            # As many at once as the pool has connections, beside those of the daemon itself.
            for some in ([*PAGES][:5], [*PAGES][5:10], [*PAGES][10:]):
                async with trio.open_nursery() as looking:
                    for path in some:
                        looking.start_soon(look, path)

    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(PAGES, 503)
    assert [path for path, page in pages.items() if PAGES[path] not in text_of(page)] == []
    assert all("within two seconds" in text_of(page) for page in pages.values())
    assert [path for path, page in pages.items() if any(empty in text_of(page) for empty in EMPTY)] == []
    typed = {path: path.rpartition("=")[2] for path in PAGES if "=" in path}
    assert [path for path, text in typed.items() if f'value="{text}"' not in pages[path].text] == ["/ui/cues?q=brief"]
