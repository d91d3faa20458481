"""All cues that match: their true number stands in the question, and an operation does what was confirmed."""

import re
from typing import Any

import httpx
import trio

from cueapi.storage.database import Database
from tests.conftest import Api
from tests.dashboard.browsing import Browser, target, text_of
from tests.dashboard.test_cues import make, notice_after, statuses
from tests.storage.rows import add_cue


def fields_of(look: httpx.Response) -> dict[str, str]:
    """The hidden fields of the question."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', look.text))


async def ended(api: Api, begun: httpx.Response) -> dict[str, Any]:
    """The operation to whose page an answer leads, when it has ended."""
    path = "/v1/operations/" + target(begun).rpartition("/")[2]
    while not (shown := await api.get(path))["finished_at"]:
        await trio.sleep(0.02)
    return shown


async def test_all_that_match_a_filter_are_paused_after_a_look_and_no_other(api: Api, person: Browser) -> None:
    with trio.fail_after(30):
        await make(api, "a", "b", group="night")
        (paused,) = await make(api, "c", group="night")
        await api.patch(f"/v1/cues/{paused}", {"status": "paused"})
        await make(api, "day")
        page = await person.get("/ui/cues?group=night")
        (link,) = re.findall(r'href="(/ui/cues/all\?do=pause[^"]*)"', page.text)
        look = await person.get(link.replace("&amp;", "&"))
        untouched = await statuses(api)
        begun = [await person.post("/ui/cues/all", fields_of(look) | {"reason": "moving"}) for _ in range(2)]
        shown = await ended(api, begun[0])
        resumed = await person.get("/ui/cues/all?do=resume&group=night")
        after = await statuses(api)
        nothing = await notice_of(person, "/ui/cues/all?do=pause&group=night")

    assert "Pause 2 cues?" in text_of(look)
    assert "Those that are active, of the group night." in text_of(look)
    assert untouched == {"a": "active", "b": "active", "c": "paused", "day": "active"}
    assert target(begun[1]) == target(begun[0])
    assert (shown["kind"], shown["matched"], shown["done"], shown["reason"]) == ("pause", 2, 2, "moving")
    assert after == {"a": "paused", "b": "paused", "c": "paused", "day": "active"}
    assert "Resume 3 cues?" in text_of(resumed)
    assert nothing == "None of these cues is active, so nothing was done."


async def notice_of(person: Browser, path: str) -> str:
    """What the page says to which *path* leads."""
    page = await person.get(target(await person.get(path)))
    (found,) = re.findall(r'<div class="notice" role="status">(.*?)</div>', page.text, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", found).split())


async def test_what_matches_a_part_of_a_name_is_deleted_as_it_was_shown(api: Api, person: Browser) -> None:
    with trio.fail_after(30):
        first, *_ = await make(api, "brief 1", "brief 2", "sync", transport="worker")
        await api.post(f"/v1/cues/{first}/fire")
        look = await person.get("/ui/cues/all?do=delete&q=BRIEF")
        await make(api, "brief 3", transport="worker")
        unsure = await api.refused("POST", "/v1/operations", {"kind": "delete", "ids": [first]})
        shown = await ended(api, await person.post("/ui/cues/all", fields_of(look)))

    assert "Delete 2 cues and their 1 execution?" in text_of(look)
    assert "Those whose name has “BRIEF” in it." in text_of(look)
    assert unsure[1] == "confirmation_required"
    assert (shown["done"], shown["failed"], shown["skipped"]) == (2, 0, {})
    assert set(await statuses(api)) == {"brief 3", "sync"}


async def test_more_than_an_operation_takes_by_name_is_refused_with_what_to_do(
    api: Api, person: Browser, database: Database
) -> None:
    with trio.fail_after(30):
        (user,) = await database.fetch("select id from users")
        one = await add_cue(database, user["id"], name="many")
        await database.execute(
            "insert into cues (id, user_id, name, status, transport, schedule_type, cron, timezone, catchup, overlap,"
            " payload, max_attempts, backoff_minutes, verification, callback_method)"
            " select 'cue_' || lpad(n::text, 12, 'a'), user_id, 'many ' || n, 'active', 'worker', schedule_type, cron,"
            " timezone, catchup, overlap, payload, max_attempts, backoff_minutes, verification, callback_method"
            " from cues, generate_series(1, 1000) n where id = $1",
            one,
        )
        said = await notice_of(person, "/ui/cues/all?do=delete&q=many")
        counted = await person.get("/ui/cues/all?do=pause")
        stale = await person.post("/ui/cues/all", fields_of(counted) | {"expected": "900"})

    assert said.startswith("More than 1,000 cues match: choose a status or a group")
    assert "Pause 1,001 cues?" in text_of(counted)
    assert (stale.status_code, "1,001 match: not 900 as expected" in text_of(stale)) == (409, True)


async def test_cues_of_others_and_what_makes_no_sense_are_left_alone(api: Api, person: Browser) -> None:
    with trio.fail_after(30):
        other = await api.register("other@example.com")
        (theirs,) = await make(other, "theirs", group="night")
        nothing = await notice_of(person, "/ui/cues/all?do=delete&group=night")
        foreign = await ended(api, await person.post("/ui/cues/all", {"do": "delete", "ids": theirs}))
        wrong = [
            (await person.get(f"/ui/cues/all?{query}")).status_code
            for query in ("", "do=fire", "do=pause&status=odd", "do=pause&group=A/B")
        ]
        empty = await person.post("/ui/cues/all", {"do": "pause"})
        selected = await notice_after(person, "/ui/cues/selected", {"do": "pause", "id": []})

    assert nothing == "None of these cues matches, so nothing was done."
    assert (foreign["done"], foreign["skipped"]) == (0, {"not_found": 1})
    assert await statuses(other) == {"theirs": "active"}
    assert wrong == [400, 400, 400, 422]
    assert empty.status_code == 422
    assert selected == "Nothing was selected, so nothing was done."
