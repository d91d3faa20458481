"""Forms that no page of ours has sent: each is refused, and none does what it does not say."""

import pytest
import trio

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
        made = await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
        fired = await api.post(f"/v1/cues/{made['id']}/fire")
        forms: dict[str, dict[str, str]] = {
            f"/ui/cues/{made['id']}/fire": {},
            f"/ui/executions/{fired['id']}/replay": {},
            "/ui/executions/replay": {"execution": fired["id"]},
            "/ui/account/keys": {"name": "ci", "scopes": "read"},
            "/ui/dead/begin": {"kind": "dismiss"},
            "/ui/cues/selected": {"do": "fire", "id": made["id"]},
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
