"""The operator's link, and the link of the first start."""

import re

import pytest
import trio

from cueapi.api.sign_in_links import new_link
from cueapi.cli import operator
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.conftest import RunningDaemon
from tests.dashboard.browsing import SAME_ORIGIN, browser, path_in, target


async def enter(daemon: RunningDaemon, link: str, email: str = "") -> int:
    """Press the button of *link* with a new browser; the status."""
    return (await browser(daemon).send("POST", path_in(link), {"email": email}, **SAME_ORIGIN)).status_code


async def test_the_first_link_makes_the_first_account_with_the_address_that_is_entered(
    daemon: RunningDaemon, database: Database
) -> None:
    link, person = await new_link(database, daemon.address, None), browser(daemon)

    page = await person.get(path_in(link))
    wrong = await person.send("POST", path_in(link), {"email": "you at home"}, **SAME_ORIGIN)
    entered = await person.send("POST", path_in(link), {"email": "you@example.com"}, **SAME_ORIGIN)
    again = await enter(daemon, link, "other@example.com")

    assert "This server has no account yet" in page.text
    assert (wrong.status_code, 'value="you at home"' in wrong.text) == (422, True)
    assert target(entered) == "/ui"
    assert again == 400
    rows = await database.fetch("select email, email_verified_at is not null as verified from users")
    assert [dict(row) for row in rows] == [{"email": "you@example.com", "verified": True}]


async def test_of_two_first_links_at_once_one_makes_an_account(daemon: RunningDaemon, database: Database) -> None:
    links, statuses = [await new_link(database, daemon.address, None) for _ in range(2)], []

    async def press(link: str, email: str) -> None:
        statuses.append(await enter(daemon, link, email))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number, link in enumerate(links * 2):
                nursery.start_soon(press, link, f"user{number}@example.com")

    assert len(await database.fetch("select 1 from users")) == 1
    assert statuses.count(303) == 1


async def test_a_first_link_is_dead_as_soon_as_there_is_an_account(daemon: RunningDaemon, database: Database) -> None:
    link = await new_link(database, daemon.address, None)
    await daemon.api.register()

    page = await browser(daemon).get(path_in(link))

    assert (page.status_code, "does not work" in page.text) == (400, True)
    assert await enter(daemon, link, "other@example.com") == 400
    assert len(await database.fetch("select 1 from users")) == 1


async def test_a_link_serves_for_fifteen_minutes(daemon: RunningDaemon, database: Database) -> None:
    await daemon.api.register()
    links = [await new_link(database, daemon.address, "you@example.com") for _ in range(2)]
    await database.execute("update sign_in_links set expires_at = expires_at - interval '14 minutes'")
    first = await enter(daemon, links[0])
    await database.execute("update sign_in_links set expires_at = expires_at - interval '1 minute'")

    assert (first, await enter(daemon, links[1])) == (303, 400)


async def test_the_operator_s_link_signs_in_as_it_is_and_replaces_no_key(
    daemon: RunningDaemon, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    api, person = await daemon.api.register(), browser(daemon)

    await operator.link(settings, "YOU@example.com")
    link = capsys.readouterr().out.split()[-1]
    page = await person.get(path_in(link))
    entered = await person.send("POST", path_in(link), {}, **SAME_ORIGIN)

    assert re.fullmatch(r"http://localhost:\d+/ui/enter/[A-Za-z0-9_-]{43}", link)
    assert "The operator of the server has made this link" in page.text
    assert target(entered) == "/ui"
    assert (await person.get("/ui/account")).status_code == 200
    assert (await api.get("/v1/auth/me"))["email_verified"] is False


async def test_the_operator_s_link_makes_the_first_account_and_no_second_one(
    daemon: RunningDaemon, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await operator.link(settings, "first@example.com")
    first, second = capsys.readouterr().out.split()[-1], "nobody@example.com"

    assert await enter(daemon, first) == 303
    with pytest.raises(operator.CommandFailed, match="There is no account with the address"):
        await operator.link(settings, second)


async def test_no_link_is_made_for_a_revoked_account_and_one_of_before_is_dead(
    daemon: RunningDaemon, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await daemon.api.register()
    await operator.link(settings, "you@example.com")
    link = capsys.readouterr().out.split()[-1]
    await operator.revoke(settings, "you@example.com")

    with pytest.raises(operator.CommandFailed, match="is revoked"):
        await operator.link(settings, "you@example.com")
    assert await enter(daemon, link) == 400


async def test_a_link_of_before_is_dead_in_a_database_without_it(daemon: RunningDaemon) -> None:
    page = await browser(daemon).get("/ui/enter/" + "A" * 43)

    assert (page.status_code, page.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
