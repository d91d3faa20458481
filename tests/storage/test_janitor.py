"""What goes, and what must stay."""

from uuid import UUID, uuid4

import pytest

from cueapi.domain.audit import SYSTEM
from cueapi.storage import cue_deletion, janitor
from cueapi.storage.database import Database
from tests.storage.rows import add_cue, add_execution, add_user, ago, claim, insert

OLD = {"finished_at": ago(days=91), "created_at": ago(days=92)}


async def ids(database: Database) -> set[UUID]:
    return {row["id"] for row in await database.fetch("select id from executions")}


async def note(database: Database, user: int, execution: UUID, *, days: int = 0) -> None:
    """An attempt and an alert of the execution."""
    alert = {"id": uuid4(), "user_id": user, "execution_id": execution, "alert_type": "execution_failed"}
    alert |= {"severity": "critical", "message": "", "created_at": ago(days=days)}
    await database.execute(insert("alerts", alert), *alert.values())
    await database.execute("insert into attempts (execution_id, attempt) values ($1, 1)", execution)


async def test_finished_executions_and_alerts_go_after_the_retention_and_the_others_stay(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    old = await add_execution(database, cue_id, status="success", **OLD)
    late = await add_execution(database, cue_id, status="success", created_at=ago(days=92), finished_at=ago(days=89))
    running = await add_execution(database, cue_id, status="retrying", created_at=ago(days=92))
    await note(database, user, old, days=91)
    await note(database, user, late, days=89)

    gone = [await janitor.apply_retention(database, 90) for _ in range(2)]

    tries = await database.fetch("select execution_id from attempts")
    alerts = await database.fetch("select execution_id from alerts")
    assert gone == [2, 0]
    assert await ids(database) == {late, running}
    assert [row["execution_id"] for row in (*tries, *alerts)] == [late, late]


async def test_the_audit_ends_after_its_own_retention(database: Database) -> None:
    user = await add_user(database)
    for days in (399, 401, 402):
        row = {"user_id": user, "at": ago(days=days), "actor_kind": "system", "action": "cue.paused"}
        row |= {"subject_kind": "cue", "subject_id": str(days)}
        await database.execute(insert("audit", row), *row.values())

    gone = [await janitor.end_audit(database, 400) for _ in range(2)]

    assert gone == [2, 0]
    assert [row["subject_id"] for row in await database.fetch("select subject_id from audit")] == ["399"]


async def test_what_belonged_to_a_deleted_cue_goes_before_the_cue_in_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "BATCH", 2)
    user = await add_user(database)
    gone, kept = await add_cue(database, user), await add_cue(database, user)
    for cue_id in (gone, gone, gone, kept):
        await note(database, user, await add_execution(database, cue_id, status="success", finished_at=ago()))
    await database.execute("update cues set deleted_at = now() - interval '2 minutes' where id = $1", gone)

    steps = []
    for _ in range(3):
        await janitor.delete_removed_cues(database)
        steps.append((len(await ids(database)), len(await database.fetch("select 1 from cues"))))

    assert steps == [(2, 2), (1, 1), (1, 1)]
    assert len(await database.fetch("select 1 from attempts")) == 1
    assert len(await database.fetch("select 1 from alerts")) == 1


async def test_a_deleted_cue_stays_while_a_request_of_it_is_under_way(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    execution = await add_execution(database, cue_id)
    await claim(database)
    await cue_deletion.delete(database, cue_ids=[cue_id], user=user, act=SYSTEM)
    await database.execute("update cues set deleted_at = deleted_at - interval '2 minutes'")

    await janitor.delete_removed_cues(database)

    assert await ids(database) == {execution}
    assert len(await database.fetch("select 1 from cues")) == 1


EXPIRING: dict[str, tuple[str, str, str]] = {
    "alert_gates": ("(user_id, alert_type, subject, raised_at) values ($1, 't', $2, $3)", "26 hours", "24 hours"),
    "idempotency_keys": (
        "(user_id, method, path, key, body_hash, status, answer, created_at)"
        " values ($1, '', '', $2, '', 200, sha512('x'), $3)",
        "25 hours",
        "23 hours",
    ),
    "device_codes": (
        "(user_id, code, status, expires_at) values ($1, $2 || '-code', 'pending', $3)",
        "25 hours",
        "23 hours",
    ),
    "address_links": (
        "(user_id, email, token_hash, expires_at) values ($1, $2, $2::text::bytea, $3)",
        "1 minute",
        "-1 minute",
    ),
    "sign_in_links": (
        "(token_hash, by_mail, expires_at) select $2::text::bytea, false, $3 where $1 > 0",
        "1 minute",
        "-1 minute",
    ),
    "session_tokens": ("(user_id, hash, expires_at) values ($1, $2::text::bytea, $3)", "1 minute", "-1 minute"),
    "api_keys": (
        "(user_id, hash, rotated_at, id, name, prefix, scopes)"
        " values ($1, $2::text::bytea, $3, 'key_000000000000', 'ci', '', '{read}')",
        "25 hours",
        "23 hours",
    ),
    # Of a key that stays: with its key a session goes, too.
    "browser_sessions": (
        "(hash, user_id, key_hash, browser, address, seen_at) select $2::text::bytea, $1, 'new', '', '', $3",
        "12 hours 1 minute",
        "11 hours",
    ),
    "echoes": (
        "(token, payload, headers, expires_at) select $2, '{}', sha512('x'), $3 where $1 > 0",
        "1 minute",
        "-1 minute",
    ),
    "workers": ("(user_id, worker_id, last_heartbeat) values ($1, $2, $3)", "31 days", "29 days"),
    "usage": ("(user_id, month) select $1 + ascii($2), $3::timestamptz::date", "25 months", "23 months"),
}


async def test_whatever_expires_goes_and_its_younger_kin_stays(database: Database) -> None:
    user = await add_user(database)
    now = await database.fetch_one("select now()")
    for table, (columns, *ages) in EXPIRING.items():
        for key, age in zip(("old", "new"), ages, strict=True):
            moment = await database.fetch_one(f"select $1::timestamptz - interval '{age}' as at", now["now"])
            await database.execute(f"insert into {table} {columns}", user, key, moment["at"])

    first, second = await janitor.delete_expired(database), await janitor.delete_expired(database)

    left = {table: len(await database.fetch(f"select 1 from {table}")) for table in EXPIRING}
    assert (first, second) == (len(EXPIRING), 0)
    assert left == dict.fromkeys(EXPIRING, 1)


async def test_a_key_that_lives_never_goes(database: Database) -> None:
    user = await add_user(database)
    await database.execute(
        "insert into api_keys (hash, user_id, id, name, prefix, scopes, created_at)"
        " values ('k', $1, 'key_000000000000', 'ci', '', '{read}', now() - interval '9 years')",
        user,
    )

    assert await janitor.delete_expired(database) == 0


async def test_usage_and_live_cues_are_not_touched_by_deletes_and_retention(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    await add_execution(database, cue_id)
    await claim(database)
    await database.execute("delete from outbox")
    await database.execute("update executions set status = 'success', finished_at = $1, created_at = $1", ago(days=99))

    await cue_deletion.delete(database, cue_ids=[cue_id], user=user, act=SYSTEM)
    await janitor.apply_retention(database, 90)
    await janitor.delete_removed_cues(database)

    assert await ids(database) == set()
    assert (await database.fetch_one("select executions from usage"))["executions"] == 1
    assert (await database.fetch_one("select live_cues from users"))["live_cues"] == 0


async def test_an_execution_of_which_an_outcome_may_still_come_is_kept(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    old = {"status": "success", "attempts": 1, "finished_at": ago(days=3)}
    awaited = await add_execution(database, cue_id, **old, outcome_deadline_at=ago(days=-1))
    await add_execution(database, cue_id, **old, outcome_deadline_at=ago(hours=1))

    await janitor.apply_retention(database, 1)

    assert [row["id"] for row in await database.fetch("select id from executions")] == [awaited]


async def test_a_claim_whose_execution_was_deleted_in_sql_is_deleted(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    kept, gone = [await add_execution(database, cue_id) for _ in range(2)]
    await claim(database)
    await database.execute("delete from executions where id = $1", gone)
    await database.execute("update outbox set lease_until = now() - interval '2 hours'")

    await janitor.delete_expired(database)

    assert [row["execution_id"] for row in await database.fetch("select execution_id from outbox")] == [kept]


async def test_a_key_that_has_expired_answers_so_for_thirty_days(database: Database) -> None:
    user = await add_user(database)
    for name, days in (("old", 31), ("new", 29)):
        await database.execute(
            "insert into api_keys (user_id, hash, id, name, prefix, scopes, expires_at)"
            " values ($1, $2::text::bytea, 'key_000000000' || $2, $2, '', '{read}', $3)",
            user, name, ago(days=days),
        )  # fmt: skip

    await janitor.delete_expired(database)

    assert [row["name"] for row in await database.fetch("select name from api_keys")] == ["new"]


async def test_operations_go_after_the_retention_with_what_they_have_noted(database: Database) -> None:
    user = await add_user(database)
    common = {"user_id": user, "kind": "replay", "scope": "{}", "rate": 50, "act": "{}", "matched": 1}
    common |= {"matched_capped": False}
    kept: set[UUID] = set()
    for days, status in ((91, "done"), (89, "done"), (None, "running")):
        row = common | {"id": uuid4(), "status": status, "finished_at": None if days is None else ago(days=days)}
        await database.execute(insert("operations", row), *row.values())
        await database.execute(
            "insert into operation_executions (operation_id, execution_id, replayed_from) values ($1, $2, $3)",
            row["id"], uuid4(), uuid4(),
        )  # fmt: skip
        kept |= {row["id"]} if days != 91 else set()

    gone = [await janitor.apply_retention(database, 90) for _ in range(2)]

    left = [await database.fetch(f"select {column} as id from {table}") for column, table in (
        ("id", "operations"), ("operation_id", "operation_executions"),
    )]  # fmt: skip
    assert gone == [2, 0]
    assert [{row["id"] for row in rows} for rows in left] == [kept, kept]
