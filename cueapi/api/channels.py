"""Channels: where a user wants to hear of incidents."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from attrs import evolve, frozen
from quart import Blueprint, Response, g

from cueapi.api.channel_links import ChannelLinks
from cueapi.api.channel_planning import PLACES, ChannelPlanner, shown, standing
from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read
from cueapi.api.http.idempotency import idempotent
from cueapi.api.http.identities import identity_in
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.http.parameters import IDEMPOTENCY_KEY, IDEMPOTENT
from cueapi.api.http.rate_limits import MINUTE, Windows
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.channels import ALL, ChannelBody, ChannelPatch
from cueapi.api.models.responses import channels as responses
from cueapi.domain.audit import changes
from cueapi.domain.channel import MOST_CHANNELS, ChannelKind, ChannelTarget
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import new_uuid7, new_webhook_secret
from cueapi.domain.masking import without_secrets
from cueapi.storage import channels
from cueapi.storage.channels import ChannelChange, ChannelRow
from cueapi.storage.database import Database
from cueapi.wakeups.hub import WakeupHub

TESTS_A_MINUTE = 10

OTHER_SECRET = "What it needs was encrypted under another SESSION_SECRET; change the channel to set it anew."


class Tested(Protocol):
    """What came of a test message."""

    @property
    def status(self) -> int | None:
        """Of the answer."""
        ...

    @property
    def error(self) -> str | None:
        """Why it was not taken."""
        ...


SendTest: TypeAlias = Callable[[ChannelTarget, UUID], Awaitable[Tested]]
ReadTarget: TypeAlias = Callable[..., ChannelTarget | None]


@frozen
class Channels:
    """`/v1/channels`. *read_target* decrypts where a channel leads, *send_test* sends a message there."""

    database: Database
    planner: ChannelPlanner
    links: ChannelLinks
    windows: Windows
    hub: WakeupHub
    read_target: ReadTarget
    send_test: SendTest

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("channels", __name__, url_prefix="/v1/channels")
        routes.post("")(self.create)
        routes.get("")(self.list)
        routes.get("/<channel_id>")(self.show)
        routes.patch("/<channel_id>")(self.change)
        routes.delete("/<channel_id>")(self.delete)
        routes.post("/<channel_id>/test")(self.test)
        return routes

    @shows_secret
    @operation(
        responses.NotificationChannel,
        status=201,
        body=ChannelBody,
        parameters=(IDEMPOTENCY_KEY, REASON),
        refuses=("invalid_channel_url", "channel_limit_exceeded", "email_not_configured", *IDEMPOTENT),
        scope="admin",
    )
    async def create(self) -> Response:
        """
        Create a channel.

        A `webhook` has a secret of its own, which is shown this once: its messages are signed as deliveries are. A mail
        address that is not the account's is sent a link, and hears of nothing before that was confirmed.
        """
        async with idempotent(self.database, self.planner.vault) as once:
            given = (await read(ChannelBody)).given()
            why = act(given.get("reason"))
            channel, (target, secret) = new_uuid7(), with_secret(ChannelTarget(given["kind"]))
            target = await self.planner.target(target, given)
            defaults = {"on": ALL, "min_severity": "warning", "groups": None, "kinds": None}
            said = defaults | {name: value for name, value in given.items() if value is not None}
            link = await self.links.needed(target.address)
            db = await once.begin()
            values = self.planner.values(target, channel, said | {"confirm_hash": link and link.token_hash})
            row = await channels.add(db, values, channel=channel, user=g.account.id, kind=target.kind, act=why.text())
            if row is None:
                raise Refusal("channel_limit_exceeded", f"An account has {MOST_CHANNELS} channels at most.")
            if link is not None:
                await self.links.send(db, link, target.address, row.name)
            whole, repeated = answer(with_new(secret, shown(row)), 201), answer(shown(row), 201)
            return once.keep(whole, repeated=repeated, then=self.hub.notice_ready)

    @shows_secret
    @operation(responses.ChannelList, scope="admin")
    async def list(self) -> Response:
        """List channels, the oldest first."""
        return answer({"channels": [shown(row) for row in await channels.every(self.database, g.account.id)]})

    @shows_secret
    @operation(responses.NotificationChannel, refuses=("channel_not_found",), scope="admin")
    async def show(self, channel_id: str) -> Response:
        """Show a channel."""
        return answer(shown(await self._find(channel_id)))

    @shows_secret
    @operation(
        responses.NotificationChannel,
        body=ChannelPatch,
        parameters=(REASON,),
        refuses=("channel_not_found", "invalid_channel_url", "email_not_configured"),
        scope="admin",
    )
    async def change(self, channel_id: str) -> Response:
        """
        Change a channel, or enable it again.

        What is left out stays; its kind does. A mail address is sent a link, where it is another one or was not
        confirmed yet. A `webhook` whose secret was encrypted under another `SESSION_SECRET` needs its `url` anew, and
        has a new secret, shown this once.
        """
        given = (await read(ChannelPatch)).given()
        why = act(given.get("reason"))
        row = await self._find(channel_id)
        target = await self.planner.target(self._target(row), given)
        named = given.get("address") is not None
        link = await self.links.wanted(target.address) if named else None
        async with self.database.transaction() as db:
            before = await channels.lock(db, channel=row.id, user=g.account.id)
            if before is None:
                raise not_found()
            # Upon what another change has left, which may have come between.
            target, secret = with_secret(self.planner.merged(self._target(before), given))
            asks = named and (target.address != (before.address or "") or not before.confirmed)
            said = standing(before) | {name: value for name, value in given.items() if name in standing(before)}
            values = self.planner.values(target, row.id, said | {"confirm_hash": link and link.token_hash})
            after = described(values, enabled=said["enabled"])
            change = ChannelChange(
                asks, not given.keys().isdisjoint(PLACES), said["enabled"], why.text(),
                json.dumps(changes(channels.described(before), after)),
            )  # fmt: skip
            row = await channels.change(db, values, channel=row.id, user=g.account.id, change=change)
            if asks and link is not None:
                await self.links.send_again(db, link, target.address, row.name)
        self.hub.notice_ready()
        return answer(with_new(secret, shown(row)))

    @operation(None, status=204, body=ReasonBody, parameters=(REASON,), refuses=("channel_not_found",), scope="admin")
    async def delete(self, channel_id: str) -> Response:
        """
        Delete a channel.

        What still waits to be sent there is not sent.
        """
        why, identity = await act_of_body(), identity_of(channel_id)
        if not await channels.delete(self.database, channel=identity, user=g.account.id, act=why.text()):
            raise not_found()
        return Response(b"", 204)

    @operation(responses.ChannelTested, refuses=("channel_not_found",), scope="admin")
    async def test(self, channel_id: str) -> Response:
        """
        Send a test message to a channel, and tell what came of it.

        It is sent at once, also to a channel that is disabled; at most ten a minute.
        """
        row = await self._find(channel_id)
        await self.windows.check("channel-test", str(g.account.id), TESTS_A_MINUTE, MINUTE)
        if not row.confirmed:
            return answer({"delivered": False, "status": None, "error": "The address was not confirmed yet."})
        if (target := self._read(row)) is None:
            return answer({"delivered": False, "status": None, "error": OTHER_SECRET})
        tested = await self.send_test(target, row.id)
        return answer({"delivered": tested.error is None, "status": tested.status, "error": tested.error})

    def _read(self, row: ChannelRow) -> ChannelTarget | None:
        return self.read_target(row.id, row.kind, topic=row.topic, address=row.address, config=row.config)

    def _target(self, row: ChannelRow) -> ChannelTarget:
        # Encrypted under another SESSION_SECRET: what it needs is asked for anew.
        return self._read(row) or ChannelTarget(row.kind, topic=row.topic or "", address=row.address or "")

    async def _find(self, channel_id: str) -> ChannelRow:
        row = await channels.show(self.database, channel=identity_of(channel_id), user=g.account.id)
        if row is None:
            raise not_found()
        return row


def with_secret(target: ChannelTarget) -> tuple[ChannelTarget, str]:
    """*target* with what its messages are signed with; and that secret where it was made now, else ""."""
    if target.kind != ChannelKind.WEBHOOK or target.secret:
        return target, ""
    secret = new_webhook_secret()
    return evolve(target, secret=secret), secret


def with_new(secret: str, channel: dict[str, Any]) -> dict[str, Any]:
    """A channel as it is answered, with the *secret* that was made for it."""
    return channel | ({"secret": secret} if secret else {})


def described(values: channels.ChannelValues, *, enabled: bool) -> dict[str, Any]:
    """What of a change may be seen: what the audit compares."""
    return {
        "name": values.name, "url": without_secrets(values.shown), "topic": values.topic, "on": values.events,
        "min_severity": values.min_severity, "groups": values.groups, "kinds": values.kinds, "enabled": enabled,
    }  # fmt: skip


def identity_of(text: str) -> UUID:
    """The id in a path; what is none is not found."""
    return identity_in(text, not_found())


def not_found() -> Refusal:
    """The refusal of an id that is no channel of this user."""
    return Refusal("channel_not_found", "There is no such channel.")
