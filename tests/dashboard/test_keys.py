"""The page of keys: made once shown, renamed, rotated, ended; only the account's own opens the pages."""

import re

import pytest

from tests.api.keys import made
from tests.conftest import Api, RunningDaemon
from tests.dashboard.browsing import SAME_ORIGIN, browser, signed_in, target, text_of

PATH = "/ui/account/keys"
KEY = re.compile(r"cue_sk_[0-9a-f]{32}")


async def test_a_key_is_made_and_shown_once(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)
    fields = {"name": "ci <b>", "scopes": ["read", "write"], "groups": "reports, night", "days": "30"}

    shown = await person.post(PATH, fields)  # type: ignore[arg-type]
    listed = await person.get(PATH)
    (key, _) = (await api.get("/v1/keys"))["keys"]

    assert (shown.status_code, len(KEY.findall(shown.text)), shown.headers["Cache-Control"]) == (200, 1, "no-store")
    assert (key["name"], key["scopes"], key["groups"]) == ("ci <b>", ["read", "write"], ["reports", "night"])
    assert key["expires_at"] is not None
    assert KEY.findall(listed.text) == []
    assert "ci &lt;b&gt;" in listed.text
    assert "in reports, night" in text_of(listed)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"name": "ci"}, "scopes-problem", id="no scope"),
        pytest.param({"name": "", "scopes": "read"}, "name-problem", id="no name"),
        pytest.param({"name": "ci", "scopes": "read", "groups": "Reports"}, "groups-problem", id="a bad group"),
    ],
)
async def test_what_is_refused_stands_beside_its_field_and_what_was_typed_stays(
    daemon: RunningDaemon, api: Api, fields: dict[str, str], problem: str
) -> None:
    person = await signed_in(daemon, api)

    page = await person.post(PATH, fields)

    assert page.status_code == 422
    assert f'id="{problem}"' in page.text
    assert all(f'value="{text}"' in page.text for text in fields.values() if text)
    assert len((await api.get("/v1/keys"))["keys"]) == 1


async def test_a_key_is_renamed_rotated_and_ended(daemon: RunningDaemon, api: Api) -> None:
    person, key = await signed_in(daemon, api), await made(api)
    own = (await api.get("/v1/keys"))["keys"][1]

    renamed = await person.post(f"{PATH}/{key['id']}/rename", {"name": "deploy"})
    rotated = await person.post(f"{PATH}/{key['id']}/rotate", {"overlap": "3600"})
    serves = [await daemon.client.get("/v1/auth/me", headers={"Authorization": f"Bearer {text}"})
              for text in (key["api_key"], *KEY.findall(rotated.text))]  # fmt: skip
    ended = await person.post(f"{PATH}/{key['id']}/end")
    again = await person.post(f"{PATH}/{key['id']}/end")
    kept = await person.post(f"{PATH}/{own['id']}/end")

    assert target(renamed) == target(ended) == PATH
    assert [one.json()["key"]["name"] for one in serves] == ["deploy"] * 2
    assert (again.status_code, kept.status_code) == (404, 409)
    assert [one["id"] for one in (await api.get("/v1/keys"))["keys"]] == [own["id"]]


async def test_a_key_that_is_not_the_account_s_own_opens_no_page(daemon: RunningDaemon, api: Api) -> None:
    wide = await made(api, "read", "fire", "work", "write", "admin")

    answer = await browser(daemon).send("POST", "/ui/sign-in", {"api_key": wide["api_key"]}, **SAME_ORIGIN)

    assert answer.status_code == 401
    assert "the account&#39;s own key" in answer.text


async def test_what_a_page_changes_is_told_of_the_person_and_not_of_a_key(daemon: RunningDaemon, api: Api) -> None:
    person, key = await signed_in(daemon, api), await made(api)
    before = (await api.get("/v1/keys"))["keys"]
    (account,) = [one for one in before if one["own"]]

    await person.post(f"{PATH}/{key['id']}/rename", {"name": "deploy"})

    assert [one["name"] for one in before] == ["ci", "Account key"]
    (row,) = (await api.get("/v1/audit?action=key.renamed"))["audit"]
    assert (row["actor"]["kind"], row["actor"]["id"] == account["id"]) == ("session", False)
