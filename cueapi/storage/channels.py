"""Channels as their users describe them, and what became of their messages."""

from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from cueapi.domain.masking import without_secrets
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.statements import load


class ChannelRow(Row):
    """A channel; *shown* is where it leads as it may be seen, *config* is encrypted JSON with what is secret."""

    id: UUID
    kind: str
    name: str
    shown: str
    topic: str | None
    address: str | None
    has_token: bool
    config: bytes
    confirmed: bool
    events: list[str]
    min_severity: str
    groups: list[str] | None
    kinds: list[str] | None
    failing_since: datetime | None
    last_error: str | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


COLUMNS: LiteralString = """
c.id, c.kind, c.name, c.shown, c.topic, c.address, c.has_token, c.config, c.confirmed_at is not null as confirmed,
c.events::text[] as events, c.min_severity, c.groups::text[] as groups, c.kinds::text[] as kinds, c.failing_since,
c.last_error, c.disabled_at, c.created_at, c.updated_at
"""


class ChannelValues(NamedTuple):
    """What is stored of a channel's description. *confirm_hash* is null where its address needs no link."""

    name: str
    shown: str
    topic: str | None
    has_token: bool
    config: bytes
    address: str | None
    confirm_hash: bytes | None
    events: list[str]
    min_severity: str
    groups: list[str] | None
    kinds: list[str] | None


ADD = load("add_channel", ("channel", "user", "kind", "act", *ChannelValues._fields), columns=COLUMNS)


async def add(
    db: Executor, values: ChannelValues, *, channel: UUID, user: int, kind: str, act: str
) -> ChannelRow | None:
    """The new channel; None where the user has as many as may be."""
    return await db.fetch_one(ADD, channel, user, kind, act, *values, row=ChannelRow)


EVERY = "select " + COLUMNS + " from channels c where c.user_id = $1 order by c.created_at, c.id"


async def every(db: Executor, user: int) -> list[ChannelRow]:
    """The user's channels, the oldest first."""
    return await db.fetch(EVERY, user, row=ChannelRow)


SHOW = "select " + COLUMNS + " from channels c where c.id = $1 and c.user_id = $2"


async def show(db: Executor, *, channel: UUID, user: int) -> ChannelRow | None:
    """One channel; None where it is not this user's."""
    return await db.fetch_one(SHOW, channel, user, row=ChannelRow)


LOCK = "select " + COLUMNS + " from channels c where c.id = $1 and c.user_id = $2 for no key update"


async def lock(db: Executor, *, channel: UUID, user: int) -> ChannelRow | None:
    """The channel, ours until the transaction ends; None where it is not this user's."""
    return await db.fetch_one(LOCK, channel, user, row=ChannelRow)


class ChannelChange(NamedTuple):
    """
    What a change comes to, beside the values.

    *asks*: the mail box is to be confirmed anew; *leads*: it was said where the channel leads; *changes*: as the audit
    tells them.
    """

    asks: bool
    leads: bool
    enabled: bool
    act: str
    changes: str


CHANGE = load("change_channel", ("channel", "user", *ChannelChange._fields, *ChannelValues._fields), columns=COLUMNS)


async def change(db: Executor, values: ChannelValues, *, channel: UUID, user: int, change: ChannelChange) -> ChannelRow:
    """The changed channel, which the transaction has locked."""
    row = await db.fetch_one(CHANGE, channel, user, *change, *values, row=ChannelRow)
    assert row is not None
    return row


# $3 the act. What waits for it goes with it, and so does its incident.
DELETE = """
with gone as (
    delete from channels where id = $1 and user_id = $2 returning id, user_id, name
)
select write_audit(user_id, $3::json, 'channel.deleted', 'channel', id::text, name) as audit,
       resolve_incident(user_id, 'channel_failing', id::text, 'the channel was deleted') as incident
  from gone
"""


class DeletedChannel(Row):
    """What the audit calls the end of a channel, and the incident that ended with it."""

    audit: int
    incident: UUID | None


async def delete(db: Executor, *, channel: UUID, user: int, act: str) -> bool:
    """Delete a channel; False where it is not this user's."""
    return await db.fetch_one(DELETE, channel, user, act, row=DeletedChannel) is not None


class ChannelLinkRow(Row):
    """What a link in a mail is for: the address, and who asks for it."""

    address: str
    email: str


SHOW_LINK = """
select c.address, u.email
  from channels c
  join users u on u.id = c.user_id and u.revoked_at is null
 where c.confirm_hash = $1
   and c.confirm_until > now()
"""


async def show_link(db: Executor, token_hash: bytes) -> ChannelLinkRow | None:
    """What a link is for; None where it serves no more."""
    return await db.fetch_one(SHOW_LINK, token_hash, row=ChannelLinkRow)


CONFIRM = """
update channels
   set confirmed_at = now(), confirm_hash = null, confirm_until = null, updated_at = clock_timestamp()
 where confirm_hash = $1
   and confirm_until > now()
returning address
"""


async def confirm(db: Executor, token_hash: bytes) -> str | None:
    """The address whose mail box was shown to be there; None where the link serves no more."""
    return await fetch_value(db, CONFIRM, token_hash, kind=str)


ADMIT = "select admit_messages() as waiting"


async def admit(db: Executor) -> int:
    """Let messages go out, one by one or within a digest; how many were waiting."""
    return await fetch_value(db, ADMIT, kind=int) or 0


class FailedChannel(Row):
    """A channel whose message was not taken, and whether that has disabled it."""

    user_id: int
    name: str
    is_disabled: bool


FAIL = load("fail_channel", ("channel", "config", "error", "gone"))


async def fail(db: Executor, *, channel: UUID, config: bytes, error: str, gone: bool) -> FailedChannel | None:
    """Note that a message was not taken; None where the channel was changed since, or disabled before."""
    return await db.fetch_one(FAIL, channel, config, error, gone, row=FailedChannel)


RECOVER = "update channels set failing_since = null, last_error = null where id = $1 and failing_since is not null"


async def recover(db: Executor, channel: UUID) -> None:
    """Note that it takes messages again."""
    await db.execute(RECOVER, channel)


def described(row: ChannelRow) -> dict[str, Any]:
    """What of a channel may be seen, as its user has described it: what an audit compares."""
    return {
        "name": row.name, "url": without_secrets(row.shown), "topic": row.topic, "on": row.events,
        "min_severity": row.min_severity, "groups": row.groups, "kinds": row.kinds, "enabled": row.disabled_at is None,
    }  # fmt: skip
