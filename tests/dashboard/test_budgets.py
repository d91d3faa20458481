"""The page of budgets: how much of each is used, and the form that sets one."""

import pytest

from tests.conftest import Api, cue
from tests.dashboard.browsing import Browser, target, text_of

PATH = "/ui/account/budgets"
FORM = {"scope": "account", "per": "day", "max_runs": "2", "max_cost": "", "on_limit": "skip", "warn_at": "0.5"}


async def test_a_page_without_budgets_says_what_to_do(person: Browser) -> None:
    page = await person.get(PATH)

    assert "No budgets yet" in text_of(page)
    assert "PUT http" in page.text
    assert PATH in (await person.get("/ui/account")).text


async def test_budgets_of_every_scope_are_set_shown_with_their_use_and_deleted(api: Api, person: Browser) -> None:
    made = await api.post("/v1/cues", cue(name="brief", group="g"))
    await person.get(PATH)
    scopes = ("account", "group:g", made["id"])
    answers = [await person.post(PATH, FORM | {"scope": scope}) for scope in scopes]
    await api.post(f"/v1/cues/{made['id']}/fire")
    page = await person.get(PATH)
    deleted = [await person.post(f"{PATH}/delete", {"scope": one}) for one in (*scopes[:2], f"cue:{made['id']}")]

    assert {target(one) for one in answers + deleted} == {PATH}
    assert text_of(page).count("1 of 2 runs a day") == 3
    assert text_of(page).count("nearly used") == 3
    assert f'href="/ui/cues/{made["id"]}"' in page.text
    assert "No budgets yet" in text_of(await person.get(PATH))
    assert (await api.get(f"/v1/cues/{made['id']}"))["budget"] is None


WRONG = {
    "max_runs": {"max_runs": "many"},
    "warn_at": {"warn_at": "2"},
    "max_cost": {"max_cost": "much"},
    "scope": {"scope": "groups"},
}


@pytest.mark.parametrize("field", WRONG)
async def test_what_is_refused_stands_beside_its_field_and_what_was_typed_is_kept(person: Browser, field: str) -> None:
    await person.get(PATH)

    page = await person.post(PATH, FORM | WRONG[field])

    assert page.status_code == 422
    assert f'id="{field}-problem"' in page.text
    assert f'value="{WRONG[field][field]}"' in page.text
