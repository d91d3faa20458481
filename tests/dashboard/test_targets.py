"""The page of targets: what is down comes first, with what waits for it, and is probed by one click."""

import re

from cueapi.storage import targets
from cueapi.storage.database import Database
from cueapi.storage.targets import TargetKey, Trip
from tests.dashboard.browsing import Browser, target, text_of
from tests.storage.rows import add_cue, add_execution, add_user, claim

HOST = "agent.example.com:443"
TRIP = Trip("it answered 503", 12, 11)


async def down(database: Database, user: int, *, waiting: int = 2) -> tuple[str, list[str]]:
    """A cue whose host is down, and executions that wait for it."""
    cue_id = await add_cue(database, user, name="morning", callback_url=f"https://{HOST}/", callback_host=HOST)
    # It is down first: whoever claims now, the daemon or we, has them wait.
    await targets.open_target(database, TargetKey(user, HOST), TRIP, pause=600.0)
    made = [str(await add_execution(database, cue_id)) for _ in range(waiting)]
    await claim(database)
    return cue_id, made


async def test_an_account_without_webhooks_has_no_targets(person: Browser) -> None:
    assert "No cue calls a host yet." in text_of(await person.get("/ui/targets"))


async def test_where_every_host_serves_the_page_says_so(person: Browser, database: Database, user: int) -> None:
    await add_cue(database, user, callback_host=HOST)

    page = text_of(await person.get("/ui/targets"))

    assert "Every host serves" in page
    assert f"{HOST} ● serves" in page


async def test_what_is_down_comes_first_with_what_waits_for_it(person: Browser, database: Database, user: int) -> None:
    await add_cue(database, user, callback_host="a.example:443")
    await down(database, user)

    page = await person.get("/ui/targets")
    text = text_of(page)

    assert "1 host is down since" in text
    assert "2 deliveries wait, and use no attempt" in text
    assert "it answered 503" in text
    assert "92 % of 12 attempts" in text
    assert re.search(r"in (9 min|10 min)", text)
    assert text.index(HOST) < text.index("a.example:443")
    assert page.text.count('action="/ui/targets/probe"') == 1


async def test_one_click_probes_and_says_so_and_a_second_one_says_to_wait(
    person: Browser, database: Database, user: int
) -> None:
    # No daemon reaches it: nothing answers there, and what is probed is put off again.
    await down(database, user)
    await database.execute("update targets set asked_at = now()")

    refused = await person.post("/ui/targets/probe", {"host": HOST})
    said = text_of(await person.get("/ui/targets"))
    await database.execute("update targets set asked_at = null")
    answer = await person.post("/ui/targets/probe", {"host": HOST})

    assert (target(refused), target(answer)) == ("/ui/targets", "/ui/targets")
    assert "It was probed moments ago; ask again in" in said
    assert f"{HOST} is being probed." in text_of(await person.get("/ui/targets"))


async def test_where_nothing_waits_the_page_says_that_nothing_was_probed(
    person: Browser, database: Database, user: int
) -> None:
    await down(database, user, waiting=0)

    await person.post("/ui/targets/probe", {"host": HOST})

    assert f"Nothing that may be sent waits for {HOST}: it was not probed." in text_of(await person.get("/ui/targets"))


async def test_a_cue_and_an_execution_say_what_they_wait_for(person: Browser, database: Database, user: int) -> None:
    cue_id, (first, _) = await down(database, user)

    cue = text_of(await person.get(f"/ui/cues/{cue_id}"))
    execution = text_of(await person.get(f"/ui/executions/{first}"))

    assert "host down" in cue
    assert "cannot serve: what is for it waits, and uses no attempt." in cue
    assert "Waits for agent.example.com, which has been down for" in execution
    assert "it is probed again in" in execution
    assert "No attempt is used." in execution


async def test_many_hosts_are_paged(person: Browser, database: Database, user: int) -> None:
    for number in range(60):
        await add_cue(database, user, callback_host=f"h{number:02}.example:443")

    first = await person.get("/ui/targets")
    (older,) = re.findall(r'href="([^"]+)" rel="next"', first.text)
    second = await person.get(older)

    assert (first.text.count('id="target-'), second.text.count('id="target-')) == (50, 10)


async def test_another_account_s_hosts_are_not_shown(person: Browser, database: Database, user: int) -> None:
    await down(database, await add_user(database))

    assert HOST not in (await person.get("/ui/targets")).text
    assert (await person.post("/ui/targets/probe", {"host": HOST})).status_code == 404
