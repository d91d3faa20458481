"""Echo: a webhook target for trying things out. It keeps the last request for five minutes."""

import json

from attrs import frozen
from quart import Blueprint, Response, g, request

from cueapi.api.http.body import read_json
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.http.rate_limits import HOUR, Windows
from cueapi.api.models.rendering import answer, stored
from cueapi.api.models.requests.bodies import Anything
from cueapi.api.models.responses import health as responses
from cueapi.domain.confidential import Confidential
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import parse_uuid
from cueapi.domain.signature import is_signed
from cueapi.security.vault import Vault
from cueapi.storage import echoes
from cueapi.storage.database import Database

TOKEN_LENGTHS = range(16, 129)

STORES = 10
"""How many an address may store in an hour, signed deliveries apart."""

# Remote-Addr is no header of the request: Quart adds it.
NOT_KEPT = {"authorization", "cookie", "proxy-authorization", "remote-addr"}


@frozen
class Echo:
    """`/v1/echo`: anyone may send to a token; an account that knows it may read it."""

    database: Database
    windows: Windows
    vault: Vault

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("echo", __name__, url_prefix="/v1/echo")
        routes.post("/<token>")(self.store)
        routes.get("/<token>")(self.show)
        return routes

    @operation(responses.Stored, body=Anything, refuses=("invalid_token",))
    async def store(self, token: str) -> Response:
        """
        Store a request for 5 minutes.

        The JSON body, up to 256 KiB, and the headers of the last request to a token are kept.
        """
        _check(token)
        data = await read_json()
        if not await self._is_delivery(token, data):
            await self.windows.check("echo", g.address, STORES, HOUR)
        payload = data.decode("utf-8-sig")
        headers = self.vault.encrypt(json.dumps(_kept_headers()), Confidential.ECHO_HEADERS, token)
        await echoes.store(self.database, token, payload=payload, headers=headers)
        return answer({"stored": True})

    @shows_secret
    @operation(responses.Echo, scope="read", in_groups=True, refuses=("invalid_token",))
    async def show(self, token: str) -> Response:
        """
        Show the last request to a token.

        Any account that knows the token may read it.
        """
        _check(token)
        row = await echoes.show(self.database, token)
        headers = None if row is None else self.vault.decrypt(row.headers, Confidential.ECHO_HEADERS, token)
        if row is None or headers is None:
            return answer({"status": "waiting"})
        return answer(
            {
                "status": "delivered",
                "payload": stored(row.payload),
                "headers": stored(headers),
                "received_at": row.received_at,
            }
        )

    async def _is_delivery(self, token: str, data: bytes) -> bool:
        """
        True where this is a delivery of our own that is under way to this token at the moment.

        Those do not count: they are not of the address that they come from, and their cue has limits already. Only
        who knows the account's secret can sign one, and it opens nothing but the token that the cue names.
        """
        execution = parse_uuid(request.headers.get("X-CueAPI-Execution-Id", ""))
        if execution is None:
            return False
        row = await echoes.secret_of_delivery(self.database, execution, path=f"/v1/echo/{token}")
        if row is None:
            return False
        secret = self.vault.decrypt(row.webhook_secret, Confidential.WEBHOOK_SECRET, row.user_id)
        timestamp = request.headers.get("X-CueAPI-Timestamp", "")
        return secret is not None and is_signed(request.headers.get("X-CueAPI-Signature", ""), secret, timestamp, data)


def _check(token: str) -> None:
    if not token.isprintable():
        raise Refusal("not_found", "There is nothing at this path.")
    if len(token) not in TOKEN_LENGTHS:
        least, most = TOKEN_LENGTHS[0], TOKEN_LENGTHS[-1]
        raise Refusal("invalid_token", f"A token has {least} to {most} characters; make it up, and hard to guess.")


def _kept_headers() -> dict[str, str]:
    """By their names in lower case; one that came twice is one list (RFC 9110, 5.2)."""
    kept: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        if key not in NOT_KEPT:
            kept[key] = f"{kept[key]}, {value}" if key in kept else value
    return kept
