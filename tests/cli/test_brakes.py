"""What the operator stops everything by, as commands."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from cueapi.storage import holds
from cueapi.storage.database import Database
from tests.process import Commands
from tests.storage.rows import add_user


async def test_the_operator_holds_and_releases_one_account_and_all_of_them(
    cueapid: Commands, database: Database, database_url: str, tmp_path: Path
) -> None:
    run = partial(cueapid.run, tmp_path, DATABASE_URL=database_url)
    one, two = [await add_user(database, email=f"{name}@example.com") for name in ("one", "two")]
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    held = await run("hold", "one@example.com", "--mode", "everything", "--reason", "loops", "--until", until)
    (row, other) = [await holds.show(database, user) for user in (one, two)]
    everyone = await run("hold", "--all")
    both = [await holds.show(database, user) for user in (one, two)]
    await run("hold", "one@example.com", "--mode", "fires")
    eased = await holds.show(database, one)
    released = await run("release", "two@example.com")
    again = await run("release", "two@example.com")
    rest = await run("release", "--all")

    assert row is not None, held.told
    assert (held.code, row.mode, row.reason, other) == (0, "everything", "loops", None)
    assert held.said.startswith("one@example.com is held")
    # What is stopped already is not set going by a stop.
    assert [(one and one.mode, one and one.reason) for one in both] == [("everything", "loops"), ("fires", None)]
    assert [one and one.until for one in both] == [None] * 2
    assert eased is not None
    assert eased.mode == "fires"
    assert everyone.said.startswith("2 accounts are held")
    assert (released.code, again.code, rest.code) == (0, 1, 0)
    assert again.told == "cueapid: two@example.com is not held.\n"
    assert rest.said.startswith("1 account is released")
    actors = {row["actor_kind"] for row in await database.fetch("select actor_kind from audit")}
    assert actors == {"operator"}


WRONG = {
    "neither an account nor all": (["hold"], "Give the address of an account, or --all."),
    "both": (["hold", "one@example.com", "--all"], "Give the address of an account, or --all."),
    "nobody to release": (["release"], "Give the address of an account, or --all."),
    "an unknown account": (["hold", "none@example.com"], "none@example.com"),
    "a past end": (["hold", "--all", "--until", "2020-01-01T00:00:00Z"], "until must lie in the future"),
    "no moment": (["hold", "--all", "--until", "soon"], "until: "),
    "a long reason": (["hold", "--all", "--reason", "x" * 501], "--reason may have 500 characters."),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
async def test_what_the_button_does_not_understand_holds_no_account(
    cueapid: Commands, database: Database, database_url: str, tmp_path: Path, arguments: list[str], words: str
) -> None:
    await add_user(database, email="one@example.com")

    ended = await cueapid.run(tmp_path, *arguments, DATABASE_URL=database_url)

    assert (ended.code, ended.told.count("\n")) == (1, 1)
    assert words in ended.told
    assert await database.fetch("select from holds") == []
