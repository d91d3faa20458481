"""What the operator's commands do is told to the account that they concern."""

import json

import trio

from cueapi.cli import operator
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.storage.rows import add_cue

EMAIL = "me@example.com"


async def test_each_command_of_the_operator_that_changes_an_account_is_told_there(
    settings: Settings, database: Database
) -> None:
    with trio.fail_after(60):
        await operator.add_user(settings, EMAIL)
        (account,) = await database.fetch("select id from users")
        cue_id = await add_cue(database, account["id"], name="brief")
        await add_cue(database, account["id"], name="resting", status="paused")
        await database.execute("update users set email_verified_at = null")
        await operator.verify(settings, EMAIL)
        await operator.verify(settings, EMAIL)
        await operator.set_limits(settings, EMAIL, cues=5, executions=None, rate=77)
        await operator.set_limits(settings, EMAIL, cues=5, executions=None, rate=None)
        await operator.revoke(settings, EMAIL)
        await operator.new_key(settings, EMAIL)
        rows = await database.fetch("select * from audit order by id")
        paused = await database.fetch_one("select * from cues where id = $1", cue_id)

    told = [(row["action"], row["subject_name"], json.loads(row["changes"])) for row in rows]
    assert {(row["user_id"], row["actor_kind"]) for row in rows} == {(account["id"], "operator")}
    assert told[:2] == [
        ("account.changed", EMAIL, [{"path": "email_verified", "from": False, "to": True}]),
        ("account.changed", EMAIL, [
            {"path": "active_cue_limit", "from": None, "to": 5},
            {"path": "rate_limit_per_minute", "from": None, "to": 77},
        ]),
    ]  # fmt: skip
    assert sorted(told[2:4]) == [
        ("account.revoked", EMAIL, []),
        ("cue.paused", "brief", [{"path": "status", "from": "active", "to": "paused"}]),
    ]
    assert told[4] == ("account.changed", EMAIL, [{"path": "revoked", "from": True, "to": False}])
    assert [action for action, *_ in told[5:]] == ["key.replaced"]
    assert paused is not None
    assert json.loads(paused["status_changed_by"])["kind"] == "operator"
