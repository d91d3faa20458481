"""The list of cues: what it shows, how it is searched, and that its buttons act on what is selected and no more."""

import re
from typing import Any

import httpx
import pytest
import trio

from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue
from tests.dashboard.browsing import Browser, signed_in, target, text_of
from tests.receiver import open_receiver

URL = "https://93.184.215.14/run"


def rows(page: httpx.Response) -> list[str]:
    """The names of the cues on a page, from top to bottom."""
    return re.findall(r'class="opens" href="[^"]*/ui/cues/[^"]*"><bdi>([^<]*)</bdi>', page.text)


async def make(api: Api, *names: str, **fields: Any) -> list[str]:
    """The ids of new cues of these names."""
    return [(await api.post("/v1/cues", cue(URL, name=name, **fields)))["id"] for name in names]


async def statuses(api: Api) -> dict[str, str]:
    """The status of each cue, by name."""
    return {one["name"]: one["status"] for one in (await api.get("/v1/cues"))["cues"]}


async def notice_after(browser: Browser, path: str, fields: dict[str, Any]) -> str:
    """What the page says to which a form leads."""
    page = await browser.get(target(await browser.post(path, fields)))
    found = re.search(r'<div class="notice" role="status">(.*?)</div>', page.text, re.DOTALL)
    assert found is not None, page.text
    return " ".join(re.sub(r"<[^>]*>", " ", found[1]).split())


async def test_without_cues_the_page_says_what_to_do(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        page = await browser.get("/ui/cues")
        searched = await browser.get("/ui/cues?q=nothing")

    assert "No cues yet" in text_of(page)
    assert 'href="/ui/cues/new"' in page.text
    assert "curl -X POST" in text_of(page)
    assert "No cue matches" in text_of(searched)


async def test_a_row_says_when_in_words_what_became_of_it_and_why_it_stands_still(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    with trio.fail_after(30):
        async with open_receiver([200, 500]) as receiver:
            schedule = {"cron": "0 9 * * MON-FRI", "timezone": "America/Los_Angeles"}
            made = await api.post(
                "/v1/cues", cue(receiver.url(), name="brief", schedule=schedule, retry={"max_attempts": 1}, group="g1")
            )
            for _ in range(2):
                fired = await api.post(f"/v1/cues/{made['id']}/fire")
                await api.execution(fired["id"])
            await make(api, "resting")
            await database.execute("update cues set status = 'paused', pause_reason = 'why not' where name = 'resting'")
            page = await (await signed_in(daemon, api)).get("/ui/cues")

    said = text_of(page)
    assert "weekdays at 09:00, Los Angeles time 0 9 * * MON-FRI" in said
    assert "▲ failing The last execution failed." in said
    assert "‖ paused why not" in said
    assert 'aria-label="1 of the last 2 succeeded; the last one: failed just now"' in page.text
    assert "data-countdown=" in page.text


async def test_cues_are_found_by_a_part_of_their_name_by_their_status_and_by_their_group(
    daemon: RunningDaemon, api: Api
) -> None:
    with trio.fail_after(30):
        first, *_ = await make(api, "Morning brief", "evening brief", "50% off", "a_b", "axb")
        await api.patch(f"/v1/cues/{first}", {"status": "paused", "group": "night"})
        browser = await signed_in(daemon, api)
        queries = ("q=BRIEF", "q=brief&status=paused", "q=%25", "q=a_b", "status=active&q=b", "group=night", "group=no")
        found = {query: rows(await browser.get(f"/ui/cues?{query}")) for query in queries}
        wrong = [await browser.get(f"/ui/cues?{query}") for query in ("status=lazy", "cursor=x~y")]

    assert found == {
        "q=BRIEF": ["evening brief", "Morning brief"],
        "q=brief&status=paused": ["Morning brief"],
        "q=%25": ["50% off"],
        "q=a_b": ["a_b"],
        "status=active&q=b": ["axb", "a_b", "evening brief"],
        "group=night": ["Morning brief"],
        "group=no": [],
    }
    assert [page.status_code for page in wrong] == [400, 400]
    assert "not &#39;lazy&#39;" in wrong[0].text


async def test_nothing_is_skipped_or_repeated_from_page_to_page_while_cues_are_made(
    daemon: RunningDaemon, api: Api
) -> None:
    names = [f"cue {number:02}" for number in range(60)]
    seen: list[str] = []
    with trio.fail_after(60):
        await make(api, *names)
        browser = await signed_in(daemon, api)
        path = "/ui/cues?q=cue"
        while path:
            page = await browser.get(path)
            seen += rows(page)
            await make(api, f"cue new {len(seen)}")
            older = re.search(r'href="([^"]*)" rel="next"', page.text)
            path = older[1].replace("&amp;", "&") if older else ""

    assert seen == names[::-1]


async def test_buttons_act_on_what_is_selected_and_on_nothing_else(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        a, b, _ = await make(api, "a", "b", "c")
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues")
        paused = await notice_after(browser, "/ui/cues/selected", {"do": "pause", "id": [a, b, "cue_000000000000"]})
        after_pause = await statuses(api)
        resumed = await notice_after(browser, "/ui/cues/selected", {"one": f"resume {a}", "id": [b]})
        after_resume = await statuses(api)
        nothing = await notice_after(browser, "/ui/cues/selected", {"do": "pause"})

    assert (paused, after_pause) == ("Paused 2 cues.", {"a": "paused", "b": "paused", "c": "active"})
    assert (resumed, after_resume) == ("Resumed “a”. Pause", {"a": "active", "b": "paused", "c": "active"})
    assert nothing == "Nothing was selected, so nothing was done."


async def test_a_double_click_fires_once(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        a, b = await make(api, "a", "b", transport="worker")
        browser = await signed_in(daemon, api)
        page = await browser.get("/ui/cues")
        nonce = re.search(r'name="nonce" value="(\w+)"', page.text)
        assert nonce is not None
        for _ in range(2):
            said = await notice_after(browser, "/ui/cues/selected", {"do": "fire", "id": [a, b], "nonce": nonce[1]})
        fired = (await api.get("/v1/executions"))["executions"]

    assert said == "Fired 2 cues."
    assert sorted(one["cue_name"] for one in fired) == ["a", "b"]


async def test_before_cues_are_deleted_the_question_names_them_and_their_number(
    daemon: RunningDaemon, api: Api
) -> None:
    with trio.fail_after(30):
        a, b, c = await make(api, "a", "b", "c", transport="worker")
        for one in (a, a, b, c):
            await api.post(f"/v1/cues/{one}/fire")
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues")
        question = await browser.post("/ui/cues/selected", {"do": "delete", "id": [a, b]})
        kept = await statuses(api)
        said = await notice_after(browser, "/ui/cues/selected", {"do": "delete", "id": [a, b], "sure": "yes"})
        left = await statuses(api)
        alone = await browser.post("/ui/cues/selected", {"one": f"delete {c}"})

    assert "Delete 2 cues and their 3 executions?" in text_of(question)
    assert question.text.index("Keep them") < question.text.index("Delete 2 cues</button>")
    assert set(kept) == {"a", "b", "c"}
    assert (said, left) == ("Deleted 2 cues.", {"c": "active"})
    assert "Delete “c” and its 1 execution?" in text_of(alone)


async def test_cues_of_others_are_neither_shown_nor_acted_on(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        other = await api.register("other@example.com")
        (theirs,) = await make(other, "theirs")
        browser = await signed_in(daemon, api)
        page = await browser.get("/ui/cues")
        said = await notice_after(browser, "/ui/cues/selected", {"do": "pause", "id": [theirs]})
        found = [
            (await browser.get(f"/ui/cues/{theirs}")).status_code,
            (await browser.get(f"/ui/cues/{theirs}/edit")).status_code,
            (await browser.post(f"/ui/cues/{theirs}/pause")).status_code,
            (await browser.post(f"/ui/cues/{theirs}/fire")).status_code,
            (await browser.post(f"/ui/cues/{theirs}/delete")).status_code,
            (await browser.post(f"/ui/cues/{theirs}/edit", {"name": "mine"})).status_code,
            (await browser.get("/ui/cues/nonsense")).status_code,
        ]

    assert "theirs" not in text_of(page)
    assert said == "Nothing was selected, so nothing was done."
    assert found == [404] * 7
    assert await statuses(other) == {"theirs": "active"}


async def test_a_cue_whose_zone_is_not_known_any_more_hides_no_other(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    with trio.fail_after(30):
        lost, _ = await make(api, "lost", "found")
        await database.execute("update cues set timezone = 'Mars/Olympus' where name = 'lost'")
        browser = await signed_in(daemon, api)
        listed = await browser.get("/ui/cues")
        alone = await browser.get(f"/ui/cues/{lost}")

    assert (rows(listed), alone.status_code) == (["found", "lost"], 200)
    assert "'Mars/Olympus' is no IANA timezone" in text_of(listed)
    assert "'Mars/Olympus' is no IANA timezone" in text_of(alone)


@pytest.mark.parametrize("timezone", ["Pacific/Kiritimati", "Etc/GMT+12"])
async def test_the_last_moment_that_is_taken_is_previewed_and_shown_and_a_later_one_is_refused(
    daemon: RunningDaemon, api: Api, timezone: str
) -> None:
    schedule = {"type": "once", "at": "9998-12-31T00:00:00Z", "timezone": timezone}
    later = schedule | {"at": "9999-12-31T23:00:00Z"}
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="last") | {"schedule": schedule})
        previewed = await api.post("/v1/schedule/preview", {"schedule": schedule})
        refused = [
            (await api.refused("POST", "/v1/schedule/preview", {"schedule": later}))[:2],
            (await api.refused("POST", "/v1/cues", cue() | {"schedule": later}))[:2],
        ]
        browser = await signed_in(daemon, api)
        pages = [await browser.get(path) for path in ("/ui", "/ui/cues", f"/ui/cues/{made['id']}")]
        beyond = await browser.get("/ui/cues?cursor=9999-12-31T23:59:59-12:00~cue_aaaaaaaaaaaa")

    assert made["next_run"] == previewed["upcoming"][0]["at"] == schedule["at"]
    assert refused == [(400, "invalid_schedule")] * 2
    assert [page.status_code for page in pages] == [200] * 3
    assert beyond.status_code == 400


async def test_a_name_turns_no_notice_around(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="report \u202e fdp.exe"))
        browser = await signed_in(daemon, api)
        await browser.get(f"/ui/cues/{made['id']}")
        said = await notice_after(browser, f"/ui/cues/{made['id']}/pause", {})

    assert "\u202e" not in said
    assert "⟨U+202E⟩" in said


async def test_what_is_refused_for_several_cues_alike_is_said_once(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        ids = await make(api, "one", "two", "three", transport="worker")
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues")
        await api.ask("PUT", "/v1/hold", {})
        told = await notice_after(browser, "/ui/cues/selected", {"do": "fire", "id": ids, "nonce": "n1"})

    assert told.count("The account is held") == 1
    assert told.startswith("Refused for 3 cues: ")
