"""Sessions: exchange the token of a sign-in for one, and refresh it."""

from datetime import datetime

from attrs import frozen
from quart import Blueprint, Response, g, request

from cueapi.api.http.auth import Authenticator, bearer, is_key
from cueapi.api.http.body import read
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.accounts import SessionBody
from cueapi.api.models.responses import accounts as responses
from cueapi.domain.errors import NotSignedIn
from cueapi.storage import accounts, sign_in
from cueapi.storage.database import Database


@frozen
class SessionRoutes:
    """`/v1/auth/session`."""

    database: Database
    authenticator: Authenticator

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("sessions", __name__, url_prefix="/v1/auth/session")
        routes.post("")(self.begin)
        routes.post("/refresh")(self.refresh)
        return routes

    @shows_secret
    @operation(responses.Session, body=SessionBody)
    async def begin(self) -> Response:
        """
        Exchange the one-time token of a sign-in for a session.

        The session serves for 24 hours.
        """
        token = (await read(SessionBody)).token
        row = await sign_in.exchange(self.database, sign_in.digest(token))
        if row is None:
            raise NotSignedIn("invalid_token", "This token was used already, has expired, or was never valid.")
        session = self.authenticator.sessions.write(row.id, signed_in=row.now, now=row.now)
        return answer({"session_token": session, "email": row.email})

    @shows_secret
    @operation(responses.Session, scope="admin", own=True)
    async def refresh(self) -> Response:
        """
        Refresh a session.

        The new one serves for another 24 hours; that goes on until 30 days after the sign-in. An API key signs in anew:
        its session begins now, and ends with the key.
        """
        authorization = request.headers.get("Authorization")
        if is_key(bearer(authorization)):
            signed_in = await self._sign_in(authorization)
        else:
            signed_in = self.authenticator.session(authorization).signed_in
        token = self.authenticator.sessions.write(g.account.id, signed_in=signed_in, now=self.authenticator.clock.now())
        return answer({"session_token": token, "email": g.account.email})

    async def _sign_in(self, authorization: str | None) -> datetime:
        """The moment at which a key signs in. A key that is replaced meanwhile ends the session, or is refused here."""
        async with self.database.transaction() as db:
            await accounts.lock(db, g.account.id)
            await self.authenticator.check(db, authorization)
            return await sign_in.moment(db)
