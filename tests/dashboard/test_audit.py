"""The audit as a page: who did what, field by field, with what leads there."""

import re
from uuid import UUID

import trio

from cueapi.storage.database import Database
from tests.conftest import Api, cue
from tests.dashboard.browsing import Browser, target, text_of
from tests.storage.rows import ago, insert

PAGE = "/ui/account/audit"
OLDER = re.compile(r'href="([^"]+)" rel="next"')


async def test_who_paused_a_cue_by_a_page_is_the_person_who_is_signed_in(api: Api, person: Browser) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="brief"))
        await person.post(f"/ui/cues/{made['id']}/pause")
        (row,) = (await api.get(f"/v1/audit?subject_id={made['id']}&action=cue.paused"))["audit"]
        email = (await api.get("/v1/auth/me"))["email"]
        own = (await api.get(f"/v1/audit?actor_id={row['actor']['id']}"))["audit"]
        page, listed = await person.get(f"/ui/cues/{made['id']}"), await person.get("/ui/cues")
        sessions = (await person.get("/ui/account")).text

    assert (row["actor"]["kind"], row["actor"]["name"]) == ("session", email)
    assert f'id="session-{row["actor"]["id"]}"' in sessions
    assert own == [row]
    assert f"Paused by {email}." in text_of(page)
    assert f'href="{PAGE}?subject_id={made["id"]}"' in page.text
    assert f"Paused by {email}." in text_of(listed)


async def test_a_cue_that_a_key_has_paused_says_so_with_the_reason(api: Api, person: Browser) -> None:
    made = await api.post("/v1/cues", cue(name="brief"))
    await api.patch(f"/v1/cues/{made['id']}", {"status": "paused", "reason": "the desk is closed"})

    page = text_of(await person.get(f"/ui/cues/{made['id']}"))

    assert "Paused by the key “Account key”: the desk is closed" in page


async def test_a_row_shows_fields_before_and_after_and_leads_to_its_subject(api: Api, person: Browser) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="brief"))
        change = {"name": "<b>other</b>", "schedule": {"cron": "0 8 * * *"}, "reason": "earlier <i>now</i>"}
        await api.patch(f"/v1/cues/{made['id']}", change)
        deleted = await api.post("/v1/cues", cue(name="gone"))
        await api.ask("DELETE", f"/v1/cues/{deleted['id']}")
        page = await person.get(f"{PAGE}?action=cue.updated")
        gone = await person.get(f"{PAGE}?action=cue.deleted")

    shown = text_of(page)
    assert "schedule.cron 0 0 1 1 * → became 0 8 * * *" in shown
    assert "cue changed" in shown
    assert "“earlier <i>now</i>”" in shown
    assert "<i>now</i>" not in page.text
    assert f'href="/ui/cues/{made["id"]}"' in page.text
    assert f'href="/ui/cues/{deleted["id"]}"' not in gone.text


async def test_nothing_yet_and_nothing_that_fits_are_said(person: Browser) -> None:
    assert "Nothing was changed yet." in text_of(await person.get(PAGE))
    assert "Nothing fits these filters" in text_of(await person.get(f"{PAGE}?subject_id=cue_1"))


async def test_a_filter_that_cannot_be_read_stands_beside_its_field_and_nothing_is_listed(
    api: Api, person: Browser
) -> None:
    await api.post("/v1/cues", cue())

    pages = [await person.get(f"{PAGE}?{query}") for query in ("since=yesterday", "until=x", "action=made.up")]
    damaged = [await person.get(f"{PAGE}?cursor={text}") for text in ("x", f"1-{UUID(int=2**64).hex}")]

    assert {page.status_code for page in pages} == {400}
    assert [page for page in pages if "Nothing is listed" not in page.text or 'id="audit-' in page.text] == []
    assert [page.status_code for page in damaged] == [400, 400]


async def test_pages_follow_each_other_without_a_gap(person: Browser, database: Database, user: int) -> None:
    for number in range(120):
        row = {"user_id": user, "at": ago(minutes=number // 7), "actor_kind": "system", "action": "cue.paused"}
        row |= {"subject_kind": "cue", "subject_id": "cue_1", "changes": "[]"}
        await database.execute(insert("audit", row), *row.values())

    found, path = [], PAGE
    while path:
        page = await person.get(path)
        found += re.findall(r'id="audit-(\d+)"', page.text)
        path = next(iter(OLDER.findall(page.text)), "").replace("&amp;", "&")

    assert len(found) == len(set(found)) == 120


async def test_those_who_are_signed_out_are_led_to_the_sign_in(person: Browser) -> None:
    person.cookies.clear()

    assert target(await person.get(PAGE)).startswith("/ui/sign-in?next=")
