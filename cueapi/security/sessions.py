"""Sessions: JSON Web Tokens (RFC 7519, HS256) under a key derived from SESSION_SECRET."""

from datetime import UTC, datetime, timedelta

import jwt
from attrs import field, frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LIFETIME = timedelta(hours=24)
"""For how long a session serves before it must be refreshed."""

LONGEST = timedelta(days=30)
"""For how long after the sign-in it can be refreshed."""

ALGORITHM = "HS256"


class SessionExpired(Exception):
    """It was a session once."""


class SessionBroken(Exception):
    """It was none of ours."""


@frozen
class Session:
    """Who is signed in, since when, and until when this token serves."""

    user: int
    signed_in: datetime
    expires: datetime


@frozen
class Sessions:
    """Writes and reads sessions under one secret."""

    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: str) -> "Sessions":
        """Those of a session secret."""
        return cls(HKDF(SHA256(), 32, salt=None, info=b"cueapi sessions").derive(secret.encode()))

    def write(self, user: int, *, signed_in: datetime, now: datetime) -> str:
        """A session of *user* from *now* on."""
        claims = {
            "sub": str(user),
            "iat": now.timestamp(),
            "exp": min(now + LIFETIME, signed_in + LONGEST).timestamp(),
            # As in OpenID Connect: when the user was last seen to be who they are.
            "auth_time": signed_in.timestamp(),
        }
        return jwt.encode(claims, self._key, ALGORITHM)

    def read(self, token: str, *, now: datetime) -> Session:
        """What *token* says. Raises SessionExpired or SessionBroken."""
        try:
            # By the caller's clock, not by the machine's.
            claims = jwt.decode(
                token,
                self._key,
                [ALGORITHM],
                options={"verify_exp": False, "verify_iat": False, "require": ["sub", "exp", "auth_time"]},
            )
            session = Session(int(claims["sub"]), _moment(claims["auth_time"]), _moment(claims["exp"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as error:
            raise SessionBroken from error
        if session.expires <= now:
            raise SessionExpired
        return session


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
