"""Keys: make, list, rename, rotate and end them."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.api_keys import MadeKey
from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read
from cueapi.api.http.idempotency import idempotent
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.http.parameters import IDEMPOTENCY_KEY, IDEMPOTENT
from cueapi.api.mails import Mails
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.keys import KeyBody, KeyPatch, RotateBody
from cueapi.api.models.responses import keys as responses
from cueapi.domain import ids
from cueapi.domain.audit import Act
from cueapi.domain.clock import iso, parse_kept
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.scope import SCOPES, Grant
from cueapi.security.vault import Vault
from cueapi.storage import accounts, api_keys, own_keys
from cueapi.storage.api_keys import MOST, KeyRow, NewKey
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, Executor


@frozen
class Keys:
    """
    `/v1/keys`. To a key that is limited to groups, only keys of these groups exist.

    *check* refuses a request whose own key has ended, by what a transaction sees.
    """

    database: Database
    vault: Vault
    clock: Clock
    mails: Mails
    account_changed: Callable[[int], None]
    check: Callable[[Executor], Awaitable[None]]

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("keys", __name__, url_prefix="/v1/keys")
        routes.post("")(self.create)
        routes.get("")(self.list)
        routes.patch("/<key_id>")(self.rename)
        routes.post("/<key_id>/rotate")(self.rotate)
        routes.delete("/<key_id>")(self.end)
        return routes

    @shows_secret
    @operation(
        responses.MadeKey,
        status=201,
        body=KeyBody,
        parameters=(IDEMPOTENCY_KEY, REASON),
        refuses=("key_limit_exceeded", *IDEMPOTENT),
        scope="admin",
        in_groups=True,
    )
    async def create(self) -> Response:
        """
        Create a key.

        Its text, `api_key`, is shown this once. A key makes none that may do more than itself, or lives longer.
        """
        body = await read(KeyBody)
        wanted, why = _grant(body), act(body.reason)
        # Before a repeat is answered, too.
        g.account.grant.check_key(wanted)
        async with idempotent(self.database, self.vault) as once:
            await self.clock.decide(self.database, partial(_check_future, wanted.until))
            groups = None if wanted.groups is None else list(wanted.groups)
            new = NewKey(ids.new_key_id(), body.name, list(wanted.scopes), groups, wanted.until)
            made, db = MadeKey.new(), await once.begin(several=True)
            await self._lock(db)
            row = await api_keys.add(db, user=g.account.id, text=made.text, new=new, act=why)
            if row is None:
                raise Refusal("key_limit_exceeded", f"There are {MOST} keys that serve; end one first.")
            await self.mails.tell(db, "key_made", name=row.name)
            shown = responses.ListedKey.render(row)
            whole = answer({**shown, "api_key": made.whole}, 201)
            return once.keep(whole, repeated=answer(shown, 201), then=self._changed(g.account.id))

    @operation(responses.KeyList, scope="read", in_groups=True)
    async def list(self) -> Response:
        """List the keys that serve, the newest first, the account's own among them."""
        rows = await api_keys.listed(self.database, user=g.account.id, groups=g.account.grant.groups)
        return answer({"keys": [responses.ListedKey.render(row) for row in rows]})

    @operation(
        responses.ListedKey,
        body=KeyPatch,
        parameters=(REASON,),
        refuses=("key_not_found",),
        scope="admin",
        in_groups=True,
    )
    async def rename(self, key_id: str) -> Response:
        """Change the name of a key."""
        body = await read(KeyPatch)
        groups, why = g.account.grant.groups, act(body.reason)
        async with self.database.transaction() as db:
            await self._lock(db)
            await self._find(db, key_id)
            row = await api_keys.rename(db, user=g.account.id, key_id=key_id, groups=groups, name=body.name, act=why)
        assert row is not None
        self.account_changed(g.account.id)
        return answer(responses.ListedKey.render(row))

    @shows_secret
    @operation(
        responses.RotatedKey,
        body=RotateBody,
        parameters=(IDEMPOTENCY_KEY, REASON),
        refuses=("key_not_found", *IDEMPOTENT),
        scope="admin",
        in_groups=True,
    )
    async def rotate(self, key_id: str) -> Response:
        """
        Replace the text of a key.

        Its id, its name and what it may do stay. The former text serves for `overlap_seconds` beside the new one, which
        is shown this once. With the account's own key every session ends.
        """
        body = await read(RotateBody)
        overlap, why = body.overlap_seconds or 0, act(body.reason)
        # Before a repeat is answered, too.
        g.account.grant.check_key((await self._find(self.database, key_id)).grant)
        async with idempotent(self.database, self.vault) as once:
            db = await once.begin(several=True)
            await self._lock(db)
            made, row = await self._rotate(db, await self._find(db, key_id), overlap, why)
            await self.mails.tell(db, "key_replaced" if row.own else "key_rotated", name=row.name)
            until = await self.clock.present(db) + timedelta(seconds=overlap) if overlap else None
            # The former text ends with its key at the latest.
            former = until if until is None or row.expires_at is None else min(until, row.expires_at)
            shown = {**responses.ListedKey.render(row), "former_serves_until": former}
            whole = answer({**shown, "api_key": made.whole})
            return once.keep(whole, repeated=answer(shown), then=self._changed(g.account.id))

    async def _rotate(self, db: Executor, row: KeyRow, overlap: int, why: Act) -> tuple[MadeKey, KeyRow]:
        user = g.account.id
        if row.own:
            made, new = MadeKey.of_account(user, self.vault), NewKey(row.id, row.name, list(SCOPES), None, None)
            rotated: KeyRow | None = await own_keys.replace_own(
                db, user=user, text=made.text, new=new, overlap_seconds=overlap, act=why
            )
        else:
            made = MadeKey.new()
            rotated = await api_keys.rotate(
                db, user=user, key_id=row.id, text=made.text, overlap_seconds=overlap, act=why
            )
        assert rotated is not None
        return made, rotated

    @operation(
        None,
        status=204,
        body=ReasonBody,
        parameters=(REASON,),
        refuses=("key_not_found", "invalid_state"),
        scope="admin",
        in_groups=True,
    )
    async def end(self, key_id: str) -> Response:
        """
        Delete a key.

        It is refused at once, on every daemon. The account's own cannot be deleted: replace it.
        """
        why = await act_of_body()
        async with self.database.transaction() as db:
            await self._lock(db)
            row = await self._find(db, key_id)
            if row.own:
                message = "This is the account's own key: replace it by POST /v1/auth/key/regenerate."
                raise Refusal("invalid_state", message)
            await api_keys.delete(db, user=g.account.id, key_id=row.id, act=why)
        self.account_changed(g.account.id)
        return Response(b"", 204)

    async def _lock(self, db: Executor) -> None:
        """Have the account's keys to ourselves; refuses a request whose own key has ended meanwhile."""
        await accounts.lock(db, g.account.id)
        await self.check(db)

    async def _find(self, db: Executor, key_id: str) -> KeyRow:
        known = ids.is_key_id(key_id)
        row = known and await api_keys.find(db, user=g.account.id, key_id=key_id, groups=g.account.grant.groups)
        if not row:
            raise Refusal("key_not_found", "There is no such key, or it has ended.")
        return row

    def _changed(self, user: int) -> Callable[[], None]:
        def then() -> None:
            self.account_changed(user)
            self.mails.ready()

        return then


def _grant(body: KeyBody) -> Grant:
    """What a key is to be able to do; scopes stand in their order, each once."""
    scopes = tuple(scope for scope in SCOPES if scope in body.scopes)
    groups = None if body.groups is None else tuple(dict.fromkeys(body.groups))
    return Grant(scopes, groups, _moment(body.expires_at))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_kept(text)
    except ValueError:
        message = "must be an ISO 8601 moment of the years 2 to 9998, for example 2030-05-01T09:00:00Z"
        raise Invalid(Problem("body.expires_at", message)) from None


def _check_future(until: datetime | None, now: datetime) -> None:
    """Refuse a key that has expired when it is made."""
    if until is not None and until <= now:
        raise Invalid(Problem("body.expires_at", f"must lie in the future; now is {iso(now)}"))
