"""`cueapid check`: says line by line whether everything that a daemon needs is fine."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from cueapi.cli.hardening import warnings
from cueapi.cli.operator import CommandFailed, say
from cueapi.daemon.postgres import POOLED_BY_TRANSACTION, open_database
from cueapi.daemon.resources import server_for_command
from cueapi.daemon.secret import OTHER_SECRET, CannotStart, present_secret
from cueapi.domain.address import is_loopback
from cueapi.embedded_postgres.data_dir import DataDirError
from cueapi.net import redis
from cueapi.net.redis import RedisUnavailable
from cueapi.net.shortage import OwnShortage
from cueapi.net.smtp import MailFailed
from cueapi.security.vault import Vault
from cueapi.settings import Settings
from cueapi.storage import fingerprints
from cueapi.storage.callback_hosts import host_elsewhere
from cueapi.storage.clock import TOLERANCE, Clock
from cueapi.storage.database import Database, StorageUnavailable
from cueapi.storage.pooler import keeps_sessions
from cueapi.storage.schema import SchemaMismatch, pending


async def run_check(settings: Settings, ignored: Mapping[str, str]) -> None:
    """
    One line for each part: fine, or what to do; then warnings, those of the *ignored* variables among them.

    Raises CommandFailed where a part is not fine.
    """
    warned = warnings(settings)
    lines = [(True, "settings", "fine"), *await _database(settings, warned)]
    lines += [await _redis(settings), await _smtp(settings)]
    for fine, name, word in lines:
        say(f"{'ok  ' if fine else 'FAIL'} {name}: {word}")
    for sentence in [*warned, *(f"{name}: {advice}" for name, advice in ignored.items())]:
        say(f"warn {sentence}")
    if not all(fine for fine, _, _ in lines):
        raise CommandFailed("something is not fine, see above")


CheckResult = tuple[bool, str, str]


async def _database(settings: Settings, warned: list[str]) -> list[CheckResult]:
    """The parts that the database answers for; each one needs those before it. Adds to what is *warned* of."""
    lines: list[CheckResult] = []
    try:
        async with server_for_command(settings) as dsn, open_database(dsn, size=2) as database:
            lines.append(await _postgres(dsn, database))
            if lines[-1][0]:
                lines.append(await _migrations(database))
            if lines[-1][0]:
                secret = await _secret(settings, database)
                lines += [secret, await _clock(database)]
                warned += await _unreadable(settings, database) if secret[0] else []
                warned += await _unreported(settings, database)
    except (CannotStart, DataDirError, StorageUnavailable) as error:
        lines.append((False, "PostgreSQL", str(error).removeprefix("PostgreSQL ")))
    return lines


async def _postgres(dsn: str, database: Database) -> CheckResult:
    if not await keeps_sessions(dsn, database):
        return False, "PostgreSQL", POOLED_BY_TRANSACTION
    return True, "PostgreSQL", "fine"


async def _migrations(database: Database) -> CheckResult:
    try:
        missing = await pending(database)
    except SchemaMismatch as error:
        return False, "migrations", str(error)
    if missing:
        return (
            False,
            "migrations",
            f"{len(missing)} to be applied: run cueapid migrate (cueapid serve does it, too)",
        )
    return True, "migrations", "fine"


async def _secret(settings: Settings, database: Database) -> CheckResult:
    known = await fingerprints.known_fingerprint(database)
    if known is None:
        return True, "secret", "not used yet"
    try:
        ours = present_secret(settings)
    except DataDirError as error:
        return False, "secret", str(error)
    if ours is None or Vault.of(ours).fingerprint != known:
        return False, "secret", OTHER_SECRET
    return True, "secret", "fine"


async def _unreadable(settings: Settings, database: Database) -> list[str]:
    """A warning where deliveries fail since what they need is of another secret."""
    ours = present_secret(settings)
    counted = None if ours is None else await fingerprints.unreadable(database, Vault.of(ours).key_id)
    if counted is None or not (counted.users or counted.cues):
        return []
    return [
        f"SESSION_SECRET: {counted.users} webhook secrets and the headers of {counted.cues} cues are of a former one: "
        "deliveries fail until POST /v1/auth/webhook-secret/regenerate is called, and callback.headers set anew"
    ]


async def _unreported(settings: Settings, database: Database) -> list[str]:
    """A warning where handlers are given report URLs that they cannot reach."""
    url = settings.url_at(settings.port)
    if not is_loopback(urlsplit(url).hostname or ""):
        return []
    host = await host_elsewhere(database)
    if host is None:
        return []
    return [f"BASE_URL: is {url}, where no handler on another machine can report, such as the one at {host}"]


async def _clock(database: Database) -> CheckResult:
    clock = Clock()
    await clock.ask(database)
    if abs(clock.offset) > TOLERANCE:
        return False, "clock", f"{clock.offset.total_seconds():+.1f} s off PostgreSQL's; keep both in time (NTP)"
    return True, "clock", "fine"


async def _redis(settings: Settings) -> CheckResult:
    if settings.redis_url is None:
        return True, "Redis", "not used; set REDIS_URL to share rate limits between daemons"
    try:
        await redis.ping(settings.redis_url.get_secret_value())
    except RedisUnavailable as error:
        return False, "Redis", f"cannot be reached ({error}); is REDIS_URL right?"
    return True, "Redis", "fine"


async def _smtp(settings: Settings) -> CheckResult:
    if settings.mailer is None:
        return True, "SMTP", "not used; set SMTP_URL to send mail"
    try:
        await settings.mailer.greet()
    except (MailFailed, OwnShortage) as error:
        return False, "SMTP", f"cannot be reached ({error}); is SMTP_URL right?"
    return True, "SMTP", "fine"
