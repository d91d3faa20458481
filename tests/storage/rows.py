"""Rows as the tests need them: users, cues and executions, written without asking the product."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import trio

from cueapi.domain.attempt import Delivery
from cueapi.domain.confidential import Confidential
from cueapi.domain.execution import Fence
from cueapi.domain.ids import new_uuid7
from cueapi.domain.reporting import ExecutionState
from cueapi.security.report_tokens import ReportTokens
from cueapi.security.vault import Vault
from cueapi.storage.accounts import reserve_id
from cueapi.storage.claimed_deliveries import to_delivery
from cueapi.storage.clock import steady
from cueapi.storage.database import Executor, Row
from cueapi.storage.executions import StateRow, to_execution_state
from cueapi.storage.outbox import AttemptTimes, Headroom, claim_deliveries
from cueapi.storage.worker_claims import ClaimRequest, LeaseTerms, claim_work
from tests.conftest import SECRET

_numbers = count()

CUE: dict[str, Any] = {
    "status": "active",
    "transport": "webhook",
    "schedule_type": "recurring",
    "cron": "0 0 1 1 *",
    "timezone": "UTC",
    "catchup": "latest",
    "overlap": "allow",
    "callback_url": "http://127.0.0.1:9/",
    "callback_method": "POST",
    "callback_host": "127.0.0.1:9",
    "payload": "{}",
    "max_attempts": 4,
    "backoff_minutes": [1, 5, 15],
    "verification": "none",
}
ONCE: dict[str, Any] = {"schedule_type": "once", "cron": None}
VAULT = Vault.of(SECRET)
TOKENS = ReportTokens.of(SECRET, "http://cueapi.test")
SECRETS = {
    "webhook_secret": Confidential.WEBHOOK_SECRET,
    "previous_webhook_secret": Confidential.WEBHOOK_SECRET,
    "alert_webhook_secret": Confidential.ALERT_SECRET,
}
"""Columns of a user that are encrypted, by what they are for."""

MONTHLY = {"self_hosted": 10**9, "free": 300}
"""Executions a month, by plan."""

TIMES = AttemptTimes(30.0)
TERMS = LeaseTerms(lease=900.0, deadline=14_400.0)


def ago(**duration: float) -> datetime:
    """A moment of the past, by keywords of timedelta."""
    return datetime.now(UTC) - timedelta(**duration)


def insert(table: str, columns: dict[str, Any]) -> str:
    """The statement that writes *columns* in their order."""
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"insert into {table} ({', '.join(columns)}) values ({places})"


async def add_user(database: Executor, **columns: object) -> int:
    """A new user; its id."""
    user = await reserve_id(database)
    given = {"id": user, "email": f"user{next(_numbers)}@example.com", "plan": "self_hosted"}
    given |= {"webhook_secret": "whsec_" + "a" * 64, "email_verified_at": ago()} | columns
    for name, purpose in SECRETS.items():
        if name in given:
            given[name] = VAULT.encrypt(str(given[name]), purpose, user)
    await database.execute(
        insert("users", given).replace(" values ", " overriding system value values "), *given.values()
    )
    return user


async def add_cue(database: Executor, user: int, **columns: object) -> str:
    """A new cue, a recurring webhook where *columns* say nothing else; its id."""
    number = next(_numbers)
    given = CUE | {"id": f"cue_{number:012}", "user_id": user, "name": f"cue {number}"} | columns
    if given["schedule_type"] == "once":
        given.setdefault("schedule_at", given.get("next_run") or ago(minutes=1))
    if "callback_headers" in given:
        given["callback_headers"] = VAULT.encrypt(given["callback_headers"], Confidential.CALLBACK_HEADERS, given["id"])
    await database.execute(insert("cues", given), *given.values())
    return str(given["id"])


async def add_execution(database: Executor, cue_id: str, **columns: object) -> UUID:
    """A new execution of a cue, in the outbox where it is an unfinished webhook; its id."""
    cue = await database.fetch_one("select * from cues where id = $1", cue_id)
    now = ago(seconds=1)
    scheduled = columns.get("triggered_by") == "scheduled"
    given = {
        "id": new_uuid7(),
        "cue_id": cue_id,
        "user_id": cue["user_id"],
        "transport": cue["transport"],
        "triggered_by": "manual_fire",
        "scheduled_for": (scheduled and cue["schedule_at"]) or now,
        "status": "pending",
        "ready_at": now,
        "payload": cue["payload"],
        "task": cue["task"],
    } | columns
    await database.execute(insert("executions", given), *given.values())
    if given["transport"] == "webhook" and given["status"] in {"pending", "retrying"}:
        queued = {name: given[name] for name in ("cue_id", "user_id", "ready_at")}
        queued |= {"execution_id": given["id"], "host": cue["callback_host"] or ""}
        await database.execute(insert("outbox", queued), *queued.values())
    return UUID(str(given["id"]))


def headroom(
    places: int = 100,
    *,
    per_host: int = 100,
    per_user: int = 100,
    kept: int = 0,
    hosts: dict[str, int] | None = None,
    users: dict[int, int] | None = None,
) -> Headroom:
    """Room in the pool, where so many deliveries are in flight to *hosts* and of *users*."""
    return Headroom(places, kept, hosts or {}, users or {}, per_host, per_user)


async def claim(database: Executor, *, daemon: int = 1, among: Headroom | None = None) -> list[Delivery]:
    """Claim what the outbox has for *daemon*."""
    asked_at = steady()
    claimed = await claim_deliveries(database, daemon=daemon, headroom=among or headroom(), times=TIMES, look_at=400)
    known = {"times": TIMES, "claimed_at": asked_at, "decrypt": VAULT.decrypt, "report_url": TOKENS.url}
    return [to_delivery(row, **known) for row in claimed.rows]


async def claim_as_worker(database: Executor, user: int, worker: str = "w", *, most: int = 10) -> list[Row]:
    """Claim what *worker* can do."""
    return await claim_work(database, ClaimRequest(user, worker, most), TERMS)


async def look_up(database: Executor, execution: UUID) -> Row:
    """The execution as it is stored."""
    row = await database.fetch_one("select * from executions where id = $1", execution)
    assert row is not None
    return row


async def look_up_cue(database: Executor, cue_id: str) -> Row:
    """The cue as it is stored."""
    row = await database.fetch_one("select * from cues where id = $1", cue_id)
    assert row is not None
    return row


async def queued(database: Executor) -> list[UUID]:
    """What lies in the outbox, in the order of its time."""
    return [row["execution_id"] for row in await database.fetch("select * from outbox order by ready_at, execution_id")]


async def alert_types(database: Executor) -> list[str]:
    """The types of all alerts, sorted."""
    return [row["alert_type"] for row in await database.fetch("select alert_type from alerts order by 1")]


async def told(database: Executor, subject: object) -> list[tuple[str, str]]:
    """The types and messages of the alerts of one cue without an execution, or of one execution."""
    rows = await database.fetch(
        "select alert_type, message from alerts where coalesce(execution_id::text, cue_id) = $1", str(subject)
    )
    return [(row["alert_type"], row["message"]) for row in rows]


async def notified(database: Executor) -> list[str]:
    """The kinds of all notifications that wait, sorted."""
    return [row["kind"] for row in await database.fetch("select kind from notifications order by 1")]


async def standing_of(database: Executor, execution: UUID) -> ExecutionState:
    """The execution as a report finds it."""
    row = await database.fetch_one("select * from execution_states where id = $1", execution, row=StateRow)
    return to_execution_state(row)


async def fence_of(database: Executor, execution: UUID) -> Fence:
    """What a decision about the execution as it stands is made upon."""
    return (await standing_of(database, execution)).fence


async def wait_for_locks(database: Executor, number: int = 1) -> None:
    """Return as soon as so many statements in this database wait for locks of others."""
    waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    while len(await database.fetch(waiting)) < number:
        await trio.sleep(0.01)
