"""What people do that no story tells: they load answers anew, press twice, go back, and keep two tabs open."""

import re

import trio

from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue
from tests.dashboard.browsing import Browser, target, text_of
from tests.storage.rows import add_cue


async def test_a_path_that_only_forms_are_sent_to_leads_to_the_page_with_the_form(person: Browser, api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue())
        fired = await api.post(f"/v1/cues/{made['id']}/fire")
        places = {
            "/ui/cues/selected": "/ui/cues",
            "/ui/cues/preview": "/ui/cues",
            f"/ui/cues/{made['id']}/fire": f"/ui/cues/{made['id']}",
            f"/ui/cues/{made['id']}/backfill/look": f"/ui/cues/{made['id']}/backfill",
            f"/ui/executions/{fired['id']}/reject": f"/ui/executions/{fired['id']}",
            "/ui/executions/replay": "/ui/executions",
            "/ui/account/webhook-secret/show": "/ui/account",
            "/ui/account/keys/key_1/rotate": "/ui/account/keys",
            "/ui/dead/look": "/ui/dead",
            "/ui/hold": "/ui",
        }
        answers = {path: target(await person.get(path)) for path in places}
        missing = [await person.get(path) for path in ("/ui/nothing", "/ui/cues/cue_1/edit", "/ui/cues/cue_1")]

    assert answers == places
    assert [page.status_code for page in missing] == [404] * 3


async def test_the_account_is_held_from_the_answer_to_a_form_and_its_page_says_so(person: Browser, api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue())
        await person.get(f"/ui/cues/{made['id']}")
        refused = await person.post(f"/ui/cues/{made['id']}/fire", {"payload": "{"})
        back = re.search(r'name="back" value="([^"]*)"', refused.text)
        assert back is not None
        held = target(await person.post("/ui/hold", {"back": back[1]}))
        page = await person.get(target(await person.get(held)))

    assert refused.status_code == 422
    assert "until the account is released" in text_of(page)


async def test_a_second_click_makes_no_second_key_and_no_second_channel(person: Browser, api: Api) -> None:
    said: list[str] = []
    with trio.fail_after(30):
        for path, fields in (
            ("/ui/account/keys", {"name": "ci", "scopes": "read"}),
            ("/ui/channels", {"kind": "webhook", "name": "ops", "url": "http://127.0.0.1:9/", "on": "opened"}),
        ):
            page = await person.get(path)
            nonce = re.findall(r'name="nonce" value="(\w+)"', page.text)[-1]
            answers = [await person.post(path, fields | {"nonce": nonce}) for _ in range(2)]
            assert answers[0].status_code == 200, path
            said.append(text_of(await person.get(path)))
        keys, channels = (await api.get("/v1/keys"))["keys"], (await api.get("/v1/channels"))["channels"]

    assert [key["name"] for key in keys if not key["own"]] == ["ci"]
    assert [channel["name"] for channel in channels] == ["ops"]
    assert "If you have not seen it: rotate the key." in said[0]


async def test_a_worker_with_any_name_is_removed(person: Browser, api: Api) -> None:
    names = ["a/b", "50%", "what?", "#1", "..", "a b", "größe", "../../x", "a%2Fb", '"<b>']
    with trio.fail_after(30):
        for name in names:
            await api.post("/v1/worker/heartbeat", {"worker_id": name})
        await person.get("/ui/workers")
        answers = [(await person.post("/ui/workers/remove", {"worker": name})).status_code for name in names]
        left = (await api.get("/v1/workers"))["workers"]

    assert answers == [303] * len(names)
    assert left == []


BEYOND = (
    '{"n": 1e400}',
    '{"n": NaN}',
    f'{{"n": {"9" * 5_000}}}',
    '{"n": ' + "[" * 900 + "]" * 900 + "}",
    r'{"n": "\u0000"}',
)
"""JSON that the contract does not carry."""


async def test_big_numbers_stay_as_they_are_in_a_form_that_is_saved(person: Browser, api: Api) -> None:
    payload = '{"id": 12345678901234567890123, "part": 0.30000000000000004, "huge": 1e308}'
    with trio.fail_after(30):
        await person.get("/ui/cues/new")
        fields = {"name": "n", "kind": "recurring", "cron": "0 9 * * *", "timezone": "UTC", "transport": "worker"}
        made = target(await person.post("/ui/cues/new", fields | {"payload": payload, "do": "save"}))
        page = await person.get(made)
        form = await person.get(f"{made}/edit")
        beyond = [
            await person.post("/ui/cues/new", fields | {"name": "o", "payload": text, "do": "save"})
            for text in (
                '{"n": 1e400}',
                '{"n": NaN}',
                '{"n": ' + "9" * 5_000 + "}",
                '{"n": ' + "[" * 900 + "]" * 900 + "}",
                '{"n": "\\u0000"}',
            )
        ]

    for text in (page.text, form.text):
        assert "12345678901234567890123" in text
        assert "0.30000000000000004" in text
    assert [(page.status_code // 100, 'id="payload-problem"' in page.text) for page in beyond] == [(4, True)] * 5


async def test_the_executions_of_a_deleted_cue_are_gone_and_what_names_it_says_so(
    daemon: RunningDaemon, person: Browser, api: Api, database: Database, user: int
) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="gone"))
        fired = await api.post(f"/v1/cues/{made['id']}/fire")
        await person.get("/ui/cues")
        await person.post("/ui/cues/selected", {"one": f"delete {made['id']}", "sure": "1"})
        pages = [await person.get(path) for path in (f"/ui/cues/{made['id']}", f"/ui/executions/{fired['id']}")]
        listed = await person.get("/ui/executions")
        filtered = await person.get(f"/ui/executions?cue_id={made['id']}")
        audit = await person.get("/ui/account/audit")

    assert [page.status_code for page in pages] == [404, 404]
    assert fired["id"] not in listed.text
    assert "No execution fits these filters" in text_of(filtered)
    assert "gone" in text_of(audit)


async def test_groups_of_dead_letters_lead_to_these_also_where_their_error_is_cut_at_a_blank(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user)
    for error in ("x" * 199 + " and more", "two\r\nlines\n", "  padded  ", "ünï 100% a&b=c #?/"):
        await database.execute(
            "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at,"
            " finished_at, dead_at, payload, error_message)"
            " values (uuidv7(), $1, $2, 'worker', 'manual_fire', now(), 'failed', now(), now(), now(), '{}', $3)",
            cue_id, user, error,
        )  # fmt: skip

    with trio.fail_after(30):
        page = await person.get("/ui/dead")
        links = re.findall(r'href="(/ui/dead\?cue_id=[^"]+)"', page.text)
        listed = [(await person.get(link.replace("&amp;", "&"))).text.count('id="dead-0') for link in links]

    assert len(links) == 4
    assert listed == [1] * 4
