"""Forms that no page of ours has sent: each is refused, and none does what it does not say."""

import pytest
import trio

from tests.api.keys import made
from tests.conftest import Api, cue
from tests.dashboard.browsing import Browser, text_of


async def executions(api: Api) -> int:
    """How many there are."""
    return int((await api.get("/v1/executions"))["total"])


@pytest.mark.parametrize("nonce", ["a\nb", "a\rb", "a" * 65, "é", "a b"])
async def test_a_nonce_that_could_be_no_header_is_refused_and_nothing_is_done(
    api: Api, person: Browser, nonce: str
) -> None:
    with trio.fail_after(60):
        one = await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
        fired = await api.post(f"/v1/cues/{one['id']}/fire")
        forms: dict[str, dict[str, str]] = {
            f"/ui/cues/{one['id']}/fire": {},
            f"/ui/executions/{fired['id']}/replay": {},
            "/ui/executions/replay": {"execution": fired["id"]},
            "/ui/account/keys": {"name": "ci", "scopes": "read"},
            "/ui/dead/begin": {"kind": "dismiss"},
            "/ui/cues/selected": {"do": "fire", "id": one["id"]},
        }
        await person.get("/ui/cues")
        pages = [await person.post(path, fields | {"nonce": nonce}) for path, fields in forms.items()]

    assert [page.status_code for page in pages] == [400] * len(forms)
    assert all("nonce of the form is damaged" in text_of(page) for page in pages)
    assert await executions(api) == 1
    assert len((await api.get("/v1/keys"))["keys"]) == 1
    assert (await api.get("/v1/operations"))["operations"] == []


async def test_a_selection_that_holds_what_is_no_execution_says_so_and_replays_the_rest(
    api: Api, person: Browser
) -> None:
    with trio.fail_after(30):
        await person.get("/ui/executions")
        page = await person.post("/ui/executions/replay", {"execution": "x\ny", "nonce": "n", "back": "/ui/executions"})
        told = await person.get("/ui/executions")

    assert page.status_code == 303
    assert "0 of 1 were replayed." in text_of(told)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        pytest.param("/ui/dead/begin", {"kind": "dismis"}, id="a kind that there is not"),
        pytest.param("/ui/dead/begin", {}, id="no kind"),
        pytest.param("/ui/dead/begin", {"kind": "replay", "http_statu": "599"}, id="a misspelt filter"),
        pytest.param("/ui/dead/look", {"kind": "replay", "http_statu": "599"}, id="a misspelt filter to look at"),
        pytest.param("/ui/dead/begin", {"kind": "replay", "rate": "five"}, id="a rate that is no number"),
        pytest.param("/ui/dead/begin", {"kind": "replay", "expected": "1,0"}, id="an expectation that is none"),
        pytest.param("/ui/cues/all", {"do": "pause", "status": "active", "grup": "night"}, id="a misspelt group"),
        pytest.param("/ui/cues/{cue}/backfill/begin",
                     {"from": "2026-01-31T00:00", "to": "2026-01-31T03:00", "missing_only": "1"}, id="a misspelt box"),
        pytest.param("/ui/account/keys", {"name": "ci", "scopes": "read", "days": "60"}, id="an end that is none"),
        pytest.param("/ui/account/keys", {"name": "ci", "scopes": "raed"}, id="a misspelt scope"),
    ],
)  # fmt: skip
async def test_a_form_that_is_misspelt_is_refused_and_begins_nothing(
    api: Api, person: Browser, path: str, fields: dict[str, str]
) -> None:
    with trio.fail_after(60):
        hourly = {"schedule": {"type": "recurring", "cron": "0 * * * *", "timezone": "UTC"}}
        one = await api.post("/v1/cues", cue("http://127.0.0.1:9/") | hourly)
        await person.get("/ui/cues")
        page = await person.post(path.replace("{cue}", one["id"]), fields)

    assert (page.status_code, page.headers["Content-Type"]) == (422, "text/html; charset=utf-8")
    assert (await api.get("/v1/operations"))["operations"] == []
    assert len((await api.get("/v1/keys"))["keys"]) == 1


async def test_a_key_is_not_rotated_by_a_form_with_an_end_that_is_none(api: Api, person: Browser) -> None:
    key = await made(api)
    await person.get("/ui/account/keys")

    page = await person.post(f"/ui/account/keys/{key['id']}/rotate", {"overlap": "24h"})
    serves = await api.client.get("/v1/auth/me", headers={"Authorization": f"Bearer {key['api_key']}"})

    assert (page.status_code, serves.status_code) == (422, 200)


@pytest.mark.parametrize("odd", ["%3Fname%3D", "odd", "cue_000000000000%3Fa%3Db", "cue_%C3%A9", "%0A"])
async def test_a_path_whose_id_is_none_leads_to_no_cue(person: Browser, odd: str) -> None:
    with trio.fail_after(60):
        await person.get("/ui/cues")
        pages = [await person.get(f"/ui/cues/{odd}{below}") for below in ("", "/edit", "/backfill")]
        pages += [
            await person.post(f"/ui/cues/{odd}/{what}", {"name": "x", "nonce": "n", "execution": f"x?{odd}"})
            for what in ("edit", "fire", "replay", "pause", "resume", "delete")
        ]

    assert {page.url.path: page.status_code for page in pages if page.status_code != 404} == {}
