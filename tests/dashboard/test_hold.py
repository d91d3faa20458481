"""The button that stops everything: on every page, and a banner while it holds."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import Api
from tests.dashboard.browsing import Browser, target, text_of

PAGES = ("/ui", "/ui/cues", "/ui/executions", "/ui/workers", "/ui/alerts", "/ui/account", "/ui/system", "/ui/nothing")


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_has_the_button_and_a_banner_while_the_account_is_held(
    api: Api, person: Browser, path: str
) -> None:
    before = await person.get(path)
    held = await person.post("/ui/hold", {"back": path, "reason": "<b>loops</b>"})
    shown = await person.get(path)
    released = await person.post("/ui/hold/release", {"back": path})
    after = await person.get(path)

    assert target(held) == target(released) == path
    assert 'action="/ui/hold"' in before.text
    assert 'action="/ui/hold"' in after.text
    assert "The account is held" not in before.text + after.text
    assert "The account is held since" in text_of(shown)
    assert "nothing fires. <b>loops</b>" in text_of(shown)
    assert "&lt;b&gt;loops" in shown.text
    assert 'action="/ui/hold/release"' in shown.text


async def test_the_button_may_stop_everything_and_the_notice_takes_it_back(api: Api, person: Browser) -> None:
    await person.post("/ui/hold", {"mode": "everything", "back": "https://elsewhere.example.com"})
    page = await person.get("/ui")
    hold = await api.get("/v1/hold")

    assert (hold["mode"], hold["by"]["kind"]) == ("everything", "session")
    assert "nothing is claimed" in text_of(page)
    assert "until the account is released. Release" in text_of(page)


async def test_a_page_that_is_older_than_a_hold_does_not_ease_it(api: Api, person: Browser) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    await api.ask("PUT", "/v1/hold", {"mode": "everything", "reason": "loops", "until": until})
    before = await api.get("/v1/hold")
    await person.post("/ui/hold", {"back": "/ui", "reason": "mine"})
    said = text_of(await person.get("/ui"))
    kept = await api.get("/v1/hold")
    await api.ask("PUT", "/v1/hold", {"mode": "fires", "reason": "loops", "until": until})
    await person.post("/ui/hold", {"back": "/ui", "mode": "everything"})
    more = await api.get("/v1/hold")
    await api.ask("DELETE", "/v1/hold")
    await person.post("/ui/hold/release", {"back": "/ui"})

    assert "was held already" in said
    assert kept == before
    assert (more["mode"], more["reason"], more["until"]) == ("everything", "loops", before["until"])
    assert "The account was not held." in text_of(await person.get("/ui"))


async def test_who_holds_and_releases_comes_back_to_the_same_list(api: Api, person: Browser) -> None:
    path = "/ui/executions?status=success"
    back = 'name="back" value="/ui/executions?status=success"'
    page = await person.get(path)
    held = await person.post("/ui/hold", {"back": path})
    shown = await person.get(path)
    released = await person.post("/ui/hold/release", {"back": path})

    assert target(held) == target(released) == path
    # The banner has the button, and the notice of what was done.
    assert (page.text.count(back), shown.text.count(back)) == (1, 2)
