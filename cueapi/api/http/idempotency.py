"""Once and no more: an effect under an `Idempotency-Key`, and its first answer again."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import quote

import trio
from attrs import frozen
from quart import Response, g, request

from cueapi.api.http.body import read_object
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.storage import idempotency
from cueapi.storage.database import STATEMENT_PATIENCE, Database, Executor
from cueapi.storage.idempotency import Key

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@frozen
class Done:
    """What an effect came to: its answer, and whom to wake as soon as it is certain."""

    response: Response
    poke: Callable[[], None]


Effect: TypeAlias = Callable[[Executor], Awaitable[Done]]


async def once(database: Database, prepare: Callable[[], Awaitable[Effect]]) -> Response:
    """
    Answer a request: *prepare* reads and checks it, the effect that comes of it writes.

    Without the header the effect is on the database itself. With it a repeat is answered before anything is checked,
    for what was right the first time may be wrong by now (`at` has passed); else the effect and its answer are one
    transaction. A refusal, or a crash, leaves nothing behind. Nobody is woken before the commit.
    """
    key = _key()
    if key is None:
        done = await (await prepare())(database)
        done.poke()
        return done.response
    body_hash = await _body_hash()
    kept = await idempotency.find(database, key)
    if kept is not None:
        return _replay_response(kept, body_hash)
    return await _together(database, key, body_hash, await prepare())


async def _together(database: Database, key: Key, body_hash: bytes, effect: Effect) -> Response:
    async with database.transaction() as db:
        with trio.fail_after(STATEMENT_PATIENCE):
            if not await idempotency.take(db, key):
                raise Refusal("idempotency_key_in_use", "The first request with this Idempotency-Key is still running.")
            # In a statement of its own: it sees what was committed before the lock was free.
            kept = await idempotency.find(db, key)
            if kept is not None:
                return _replay_response(kept, body_hash)
            done = await effect(db)
            answer = await done.response.get_data(as_text=True)
            await idempotency.keep(db, key, body_hash=body_hash, status=done.response.status_code, answer=answer)
    done.poke()
    return done.response


def _key() -> Key | None:
    given = request.headers.getlist("Idempotency-Key")
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise Invalid(Problem("header.Idempotency-Key", "must be 1 to 255 printable ASCII characters, once"))
    return Key(g.account.id, request.method, quote(request.path), given[0])


async def _body_hash() -> bytes:
    """Of what the body says, in whatever order and with whatever blanks it says so."""
    said = json.dumps(await read_object(), sort_keys=True)
    return hashlib.sha256(said.encode()).digest()


def _replay_response(kept: idempotency.KeptAnswer, body_hash: bytes) -> Response:
    if kept.body_hash != body_hash:
        raise Refusal("idempotency_key_reused", "This Idempotency-Key was used with another body; take a new one.")
    headers = {"Idempotent-Replayed": "true"}
    return Response(kept.answer, kept.status, headers, content_type="application/json")
