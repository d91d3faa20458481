"""The pages of dead letters and of operations: groups first, a look before, and progress."""

import re

import trio

from cueapi.storage.database import Database
from tests.api.test_dead_letters import add_dead, listed
from tests.conftest import Api, cue
from tests.dashboard.browsing import Browser, target, text_of


async def add_failures(api: Api, database: Database) -> dict[str, list[str]]:
    """Dead letters of two cues, by the names of these."""
    found: dict[str, list[str]] = {}
    for name, status, number in (("brief", 503, 3), ("sync", 500, 2)):
        made = await api.post("/v1/cues", cue("http://127.0.0.1:9/", name=name, group="night"))
        error = f"The handler answered {status}."
        found[name] = [
            await add_dead(database, made["id"], http_status=status, error_message=error) for _ in range(number)
        ]
    return found


async def test_groups_stand_first_and_lead_to_their_dead_letters(api: Api, person: Browser, database: Database) -> None:
    with trio.fail_after(30):
        dead = await add_failures(api, database)
        page = await person.get("/ui/dead")
        links = re.findall(r'href="(/ui/dead\?[^"]+)"', page.text)
        of_group = await person.get(links[0].replace("&amp;", "&"))
        wrong = await person.get("/ui/dead?http_status=many&since=soon")

    assert "5 executions have failed for good, in 2 groups." in text_of(page)
    assert page.text.index("The handler answered 503.") < page.text.index("The handler answered 500.")
    assert all(one in of_group.text for one in dead["brief"])
    assert not any(one in of_group.text for one in dead["sync"])
    assert (wrong.status_code, wrong.text.count('aria-invalid="true"')) == (400, 2)


async def test_a_group_without_a_reason_is_listed_and_run_again_alone(
    api: Api, person: Browser, database: Database
) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
        silent = [await add_dead(database, made["id"]) for _ in range(5)]
        told = [await add_dead(database, made["id"], outcome_error="boom") for _ in range(3)]
        page = await person.get("/ui/dead")
        link = re.findall(r'href="(/ui/dead\?cue_id=[^"]+)"', page.text)[0].replace("&amp;", "&")
        of_group = await person.get(link)
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', of_group.text))
        fields.pop("selected")
        look = await person.post("/ui/dead/look", {**fields, "kind": "dismiss"})
        order = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', look.text))
        place = target(await person.post("/ui/dead/begin", order))
        while (shown := await api.get(f"/v1/operations/{place.rpartition('/')[2]}"))["status"] != "done":
            await trio.sleep(0.02)

    assert "no reason was given" in text_of(page)
    assert "5 executions have failed for good under these filters" in text_of(of_group)
    assert all(one in of_group.text for one in silent)
    assert not any(one in of_group.text for one in told)
    assert "Dismiss 5 dead letters?" in look.text
    assert (shown["matched"], shown["done"]) == (5, 5)
    assert shown["filter"] == {"cue_id": made["id"], "http_status": "none", "error": "none"}
    assert await listed(api) == told[::-1]


async def test_a_group_is_dismissed_after_a_look_and_its_progress_is_shown(
    api: Api, person: Browser, database: Database
) -> None:
    with trio.fail_after(30):
        dead = await add_failures(api, database)
        await person.get("/ui/dead?http_status=503")
        asked = {"kind": "dismiss", "http_status": "503"}
        look = await person.post("/ui/dead/look", asked)
        untouched = await listed(api)
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', look.text))
        begun = [await person.post("/ui/dead/begin", {**fields, "reason": "known"}) for _ in range(2)]
        place = target(begun[0])
        while "worked on" in (progress := (await person.get(place)).text) and "Ended</dt><dd>–" in progress:
            await trio.sleep(0.02)
        operations = await person.get("/ui/operations")

    assert "Dismiss 3 dead letters?" in look.text
    assert len(untouched) == 5
    assert target(begun[1]) == place
    assert "3 of 3" in progress
    assert "known" in progress
    assert operations.text.count("Dismissal of dead letters") == 1
    assert await listed(api) == dead["sync"][::-1]


async def test_a_selection_is_replayed_and_one_of_another_account_is_not(
    api: Api, person: Browser, database: Database
) -> None:
    with trio.fail_after(30):
        dead = await add_failures(api, database)
        other = await api.register("other@example.com")
        others = await add_dead(database, (await other.post("/v1/cues", cue()))["id"])
        await person.get("/ui/dead")
        nothing = await person.post("/ui/dead/look", {"kind": "replay", "selected": "1"})
        chosen = {"kind": "replay", "selected": "1", "execution": dead["brief"][0]}
        look = await person.post("/ui/dead/look", chosen)
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', look.text))
        begun = await person.post("/ui/dead/begin", fields)
        place = target(begun)
        while (shown := await api.get(f"/v1/operations/{place.rpartition('/')[2]}"))["status"] != "done":
            await trio.sleep(0.02)
        foreign = await person.post("/ui/dead/look", {"kind": "replay", "selected": "1", "execution": others})
        missing = await person.get("/ui/operations/odd")

    assert target(nothing) == "/ui/dead"
    assert "Replay 1 dead letter?" in look.text
    assert (shown["done"], shown["by"]["kind"]) == (1, "session")
    assert f"/ui/executions/{others}" not in foreign.text
    assert missing.status_code == 404


async def test_an_operation_that_runs_is_cancelled_by_its_button(api: Api, person: Browser, database: Database) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(group="night"))
        for _ in range(20):
            await add_dead(database, made["id"])
        body = {"kind": "dismiss", "filter": {"group": "night"}, "rate_per_second": 1}
        operation = (await api.ask("POST", "/v1/operations", body)).json()
        place = f"/ui/operations/{operation['id']}"
        page = await person.get(place)
        cancelled = await person.post(f"{place}/cancel", {})
        after = await person.get(place)
        again = await person.post(f"{place}/cancel", {})

    assert f'action="{place}/cancel"' in page.text
    assert (cancelled.status_code, again.status_code) == (303, 303)
    assert "were left when it was cancelled" in after.text
    assert f'action="{place}/cancel"' not in after.text


async def test_a_backfill_is_looked_at_and_begun(api: Api, person: Browser) -> None:
    with trio.fail_after(30):
        hourly = {"schedule": {"type": "recurring", "cron": "0 * * * *", "timezone": "UTC"}}
        made = await api.post("/v1/cues", cue() | hourly)
        place = f"/ui/cues/{made['id']}/backfill"
        page = await person.get(place)
        wrong = await person.post(f"{place}/look", {"from": "yesterday", "to": "2026-01-31T04:00"})
        asked = {"from": "2026-01-31T00:00", "to": "2026-01-31T03:00", "only_missing": "1"}
        look = await person.post(f"{place}/look", asked)
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', look.text.partition("<h2>")[2]))
        begun = target(await person.post(f"{place}/begin", fields))
        while (shown := await api.get(f"/v1/operations/{begun.rpartition('/')[2]}"))["status"] != "done":
            await trio.sleep(0.02)
        again = await person.post(f"{place}/look", asked)
        missing = await person.get("/ui/cues/cue_000000000000/backfill")

    assert f'action="{place}/look"' in page.text
    assert (wrong.status_code, wrong.text.count('aria-invalid="true"')) == (422, 1)
    assert "2026-01-31 03:00:00 UTC" in look.text
    assert (shown["kind"], shown["done"]) == ("backfill", 4)
    assert "Each of its times there has an execution." in again.text
    assert missing.status_code == 404
