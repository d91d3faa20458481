"""Mutes: of what no notices are sent."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.acting import REASON, act
from cueapi.api.http.body import read
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import Flag, Pattern, Text
from cueapi.api.incidents import future
from cueapi.api.models import values
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.incidents import MuteBody, MuteSubject
from cueapi.api.models.responses import incidents as responses
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.ids import is_cue_id
from cueapi.domain.incident import MOST_MUTES
from cueapi.storage import key_groups, mutes
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.storage.mutes import MuteRow

CUE = Text("cue_id", "The cue that is muted.", names_one=True)
GROUP = Pattern("group", "The group that is muted.", values.GROUP, names_one=True)
ACCOUNT = Flag("account", "`true`: everything is muted.")


@frozen
class Mutes:
    """`/v1/mutes`."""

    database: Database
    clock: Clock

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("mutes", __name__, url_prefix="/v1/mutes")
        routes.get("")(self.list)
        routes.put("")(self.put)
        routes.delete("")(self.delete)
        return routes

    @operation(responses.MuteList, scope="read", in_groups=True)
    async def list(self) -> Response:
        """List the mutes that are in force."""
        rows = await mutes.every(self.database, g.account.id, groups=g.account.grant.groups)
        return answer({"mutes": [shown(row) for row in rows]})

    @operation(
        responses.Mute,
        body=MuteBody,
        parameters=(REASON,),
        refuses=("cue_not_found", "mute_limit_exceeded"),
        scope="write",
        in_groups=True,
    )
    async def put(self) -> Response:
        """
        Mute a cue, a group, or the account.

        No message, no mail and no reminder is sent of it; incidents are kept, and alert webhooks go on. It replaces the
        mute that there is of the same subject. An account has 1,000 at most.
        """
        body = await read(MuteBody)
        scope, subject = subject_of(body)
        if not await self._is_known(scope, subject):
            raise Refusal("cue_not_found", "There is no such cue.")
        until = None
        if body.until is not None:
            until = await self.clock.decide(self.database, partial(future, body.until))
        why = act(body.reason)
        row = await mutes.put(
            self.database, user=g.account.id, scope=scope, subject=subject, until=until, reason=why.reason,
            act=why.text(),
        )  # fmt: skip
        if not row.is_known:
            raise Refusal("cue_not_found", "There is no such cue.")
        if not row.has_room:
            raise Refusal("mute_limit_exceeded", f"An account has {MOST_MUTES:,} mutes at most; delete one first.")
        return answer(shown(row))

    @operation(
        None,
        status=204,
        body=MuteSubject,
        parameters=(CUE, GROUP, ACCOUNT, REASON),
        refuses=("mute_not_found", "invalid_filter"),
        scope="write",
        in_groups=True,
    )
    async def delete(self) -> Response:
        """
        Delete the mute of a cue, a group, or the account.

        The body names its subject, or the query does.
        """
        body = await read(MuteSubject)
        scope, subject = subject_of(body, _in_query())
        if not await self._is_known(scope, subject) or not await mutes.delete(
            self.database, user=g.account.id, scope=scope, subject=subject, act=act(body.reason).text()
        ):
            raise Refusal("mute_not_found", "This is not muted.")
        return Response(b"", 204)

    async def _is_known(self, scope: str, subject: str) -> bool:
        """Whether a cue exists for the key that asks; refuses groups that it is not limited to, and the account."""
        grant = g.account.grant
        if grant.groups is None:
            return True
        if scope == "cue":
            return is_cue_id(subject) and await key_groups.has_cue(
                self.database, user=g.account.id, groups=grant.groups, cue_id=subject
            )
        grant.check_named(subject if scope == "group" else None, "the group that is muted")
        return True


def _in_query() -> list[tuple[str, str]]:
    """What the query names: of each its scope, and the subject in it."""
    return _named(CUE.read(), GROUP.read(), account=ACCOUNT.read())


def _named(cue: str | None, group: str | None, *, account: bool | None) -> list[tuple[str, str]]:
    named = [("cue", cue), ("group", group), ("account", "" if account else None)]
    return [(scope, subject) for scope, subject in named if subject is not None]


def subject_of(body: MuteSubject, in_query: Sequence[tuple[str, str]] = ()) -> tuple[str, str]:
    """What is muted: its scope, and the subject in it; refuses none, and more than one."""
    given = [*_named(body.cue_id, body.group, account=body.account), *in_query]
    if len(given) != 1:
        raise Invalid(Problem("body", "name one of cue_id, group, and account: true, once"))
    return given[0]


def shown(row: MuteRow) -> dict[str, Any]:
    """A mute as it is answered."""
    return {
        "cue_id": row.subject if row.scope == "cue" else None,
        "cue_name": row.name,
        "group": row.subject if row.scope == "group" else None,
        "account": row.scope == "account",
        "until": row.until,
        "reason": row.reason,
        "created_at": row.created_at,
    }
