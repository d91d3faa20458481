"""SESSION_SECRET: given, kept in the data directory, or made there at the first start."""

import secrets
from pathlib import Path

from cueapi.embedded_postgres.data_dir import DataDirUnusable, make, translate_os_errors, write_once
from cueapi.security.vault import Vault
from cueapi.settings import Settings
from cueapi.storage import fingerprints
from cueapi.storage.database import Database


class CannotStart(Exception):
    """The daemon cannot start; the message is one line that says why."""


class WrongSetting(CannotStart):
    """What a setting leads to is of no use to a daemon."""


def secret_of(settings: Settings) -> str:
    """SESSION_SECRET, or the one that is kept in the data directory: made where there is none."""
    return present_secret(settings) or session_secret(Path(settings.data_dir))


def present_secret(settings: Settings) -> str | None:
    """As `secret_of`, but None where it would have to be made."""
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value()
    return kept_secret(Path(settings.data_dir))


OTHER_SECRET = (
    "SESSION_SECRET differs from the one that this database is used with (where it is not set, it lies in "
    "DATA_DIR/session-secret). All daemons on one database share one secret: put the old one back; where it is lost, "
    "cueapid accept-secret goes on with the new one."
)


async def check_secret(database: Database, vault: Vault) -> None:
    """Raises CannotStart where the database is used under another secret."""
    if await fingerprints.fingerprint(database, vault.fingerprint) != vault.fingerprint:
        raise CannotStart(OTHER_SECRET)


SECRET_LENGTH = 32
"""Characters that a session secret has at least."""


def session_secret(data_dir: Path) -> str:
    """The secret that signs sessions: made at the first call, the same one ever after."""
    path = data_dir / "session-secret"
    with translate_os_errors(data_dir):
        make(data_dir)
        if not path.exists():
            write_once(path, secrets.token_urlsafe(48))
    secret = kept_secret(data_dir)
    assert secret is not None
    return secret


def kept_secret(data_dir: Path) -> str | None:
    """The secret that lies there; None where none does. Nothing is made."""
    path = data_dir / "session-secret"
    with translate_os_errors(data_dir):
        try:
            secret = path.read_text().strip()
        except FileNotFoundError:
            return None
    if len(secret) < SECRET_LENGTH:
        raise DataDirUnusable(
            f"{path} is too short to be a secret: put the old one back; where it is lost, "
            "delete the file and run cueapid accept-secret"
        )
    return secret
