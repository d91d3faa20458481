"""At most once: an effect under an `Idempotency-Key`, and its first answer again for a repeat."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

from attrs import define, field
from quart import Response, g, request

from cueapi.api.http.body import json_object, read_bytes
from cueapi.api.http.off_loop import off_loop
from cueapi.api.http.parameters import IDEMPOTENCY_KEY, KEY
from cueapi.domain.confidential import Confidential
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.security.vault import Vault
from cueapi.storage import idempotency
from cueapi.storage.database import Database, Executor, StorageUnavailable
from cueapi.storage.idempotency import KeptAnswer, Key

FIELD = "idempotency_key"
"""The field that may name the key in the place of the header, where a body knows it."""


class Replayed(Exception):
    """This request was answered before: the app answers with *response*, the first answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@define
class IdempotentRequest:
    """A request within `idempotent`: where it writes, and what it is answered."""

    _database: Database
    _vault: Vault
    _key: Key | None
    _body_hash: bytes
    _transaction: AsyncExitStack = field(repr=False)
    _db: Executor | None = None
    _repeated: Response | None = None
    _then: Callable[[], None] | None = None

    async def begin(self, *, several: bool = False) -> Executor:
        """
        What the effect is written to. Call it after all checks: with a key it holds a connection from here on.

        With *several* it is a transaction also without a key.
        """
        if self._key is None and several:
            return await self._transaction.enter_async_context(self._database.transaction())
        if self._key is None:
            return self._database
        db = self._db = await self._transaction.enter_async_context(self._database.transaction())
        if not await idempotency.take(db, self._key):
            raise Refusal("idempotency_key_in_use", "The first request with this Idempotency-Key is still running.")
        # In a statement of its own: it sees what was committed before the lock was free.
        await self.refuse_repeat(db)
        return db

    def keep(self, response: Response, *, then: Callable[[], None], repeated: Response | None = None) -> Response:
        """
        Answer with *response*, and a repeat likewise, or with *repeated*.

        *then* is called as soon as the effect is certain, or may be.
        """
        self._repeated, self._then = repeated or response, then
        return response

    async def refuse_repeat(self, db: Executor) -> None:
        """Raise Replayed where the key has its answer already."""
        if self._key is None:
            return
        kept = await idempotency.find(db, self._key)
        if kept is not None:
            raise Replayed(self._replay_response(self._key, kept))

    async def store_answer(self) -> None:
        """Store the answer beside the effect, in the same transaction."""
        if self._key is None:
            return
        assert self._db is not None, "begin() was not called"
        assert self._repeated is not None, "keep() was not called"
        answer = await self._repeated.get_data(as_text=True)
        await idempotency.keep(
            self._db,
            self._key,
            body_hash=self._body_hash,
            status=self._repeated.status_code,
            answer=self._vault.encrypt(answer, Confidential.ANSWER, self._key.user),
        )

    def _replay_response(self, key: Key, kept: KeptAnswer) -> Response:
        if kept.body_hash != self._body_hash:
            raise Refusal("idempotency_key_reused", "This Idempotency-Key was used with another body; take a new one.")
        answer = self._vault.decrypt(kept.answer, Confidential.ANSWER, key.user)
        if answer is None:
            message = "The first answer was encrypted under another SESSION_SECRET and cannot be read; take a new key."
            raise Refusal("idempotency_key_reused", message)
        return Response(answer, kept.status, {"Idempotent-Replayed": "true"}, content_type="application/json")

    def wake(self) -> None:
        """Wake those who wait for the effect."""
        if self._then is not None:
            self._then()


@asynccontextmanager
async def idempotent(database: Database, vault: Vault, *, in_body: bool = False) -> AsyncIterator[IdempotentRequest]:
    """
    Answer a request at most once.

        async with idempotent(self.database, self.vault) as once:
            ... read and check the request ...
            row = await fires.fire(await once.begin(), ...)
            return once.keep(answer(...), then=self.hub.delivery_ready)

    The key is in the header or, with *in_body*, in the field `idempotency_key`. Without one `begin` gives the database
    itself. With one a repeat is answered at the top of the block, before anything is checked, for what was right the
    first time may be wrong by now (`at` has passed). Otherwise key, effect and answer are one transaction, which
    commits at the end of the block; the client gets its answer after that, and nothing is woken before. A refusal, or a
    crash, leaves nothing behind.
    """
    named = await _named_key() if in_body else None
    key = _key(named)
    body_hash = b"" if key is None else await _body_hash()
    transaction = AsyncExitStack()
    once = IdempotentRequest(database, vault, key, body_hash, transaction)
    try:
        async with transaction:
            await once.refuse_repeat(database)
            yield once
            await once.store_answer()
    except StorageUnavailable:
        # The commit may have been done, and its answer lost.
        once.wake()
        raise
    once.wake()


async def _named_key() -> str | None:
    """The key that the body names; None where it names none."""
    named = await off_loop(_named_in, await read_bytes())
    if named is not None and not (isinstance(named, str) and KEY.fullmatch(named)):
        raise Invalid(Problem(f"body.{FIELD}", "must be 1 to 255 printable ASCII characters"))
    return named


def _named_in(body: bytes) -> object:
    return json_object(body).get(FIELD)


def _key(named: str | None) -> Key | None:
    given = IDEMPOTENCY_KEY.read()
    if named is not None and given is not None and named != given:
        raise Invalid(Problem(f"body.{FIELD}", f"is another key than that of the header {IDEMPOTENCY_KEY.name}"))
    key = named or given
    # A slash at the end leads to the same route.
    return None if key is None else Key(g.account.id, request.method, quote(request.path.rstrip("/")), key)


async def _body_hash() -> bytes:
    """The digest of what the body says beside a key, whatever the order of its keys and its white space."""
    return await off_loop(_digest, await read_bytes())


def _digest(body: bytes) -> bytes:
    said = {name: value for name, value in json_object(body).items() if name != FIELD}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()
