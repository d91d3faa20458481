"""What the operator's commands do, beside serving."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from cueapi.api.api_keys import new_account, replace_key
from cueapi.api.sign_in_links import new_link
from cueapi.daemon.resources import open_for_command
from cueapi.daemon.secret import check_secret, secret_of
from cueapi.domain.account import checked_email
from cueapi.domain.audit import OPERATOR
from cueapi.domain.errors import Refusal
from cueapi.security.vault import Vault
from cueapi.settings import Settings
from cueapi.storage import accounts, addresses, fingerprints, notifications, notify, sign_in_links, users
from cueapi.storage.database import Database
from cueapi.storage.schema import migrate

COMMAND = "command"
"""How a command signs its notifications: no daemon has that number."""


class CommandFailed(Exception):
    """The command could not do what it was asked for; the message is one line."""


@asynccontextmanager
async def migrated(settings: Settings, *, new: bool = False) -> AsyncIterator[Database]:
    """The database of *settings*, with every migration applied."""
    async with open_for_command(settings, new=new) as database:
        await migrate(database)
        yield database


def say(text: str) -> None:
    """Write lines to standard output, now. Raises CommandFailed where that cannot be."""
    if sys.stdout is None:  # It was closed before the start.
        raise CommandFailed("standard output is closed")
    try:
        click.echo(text)
    except OSError as error:
        # What could not be written is tried again at the end, and would change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CommandFailed(f"standard output cannot be written: {error.strerror}") from error


async def migrate_only(settings: Settings) -> None:
    """Apply what is missing, and name it."""
    async with open_for_command(settings, new=True) as database:
        done = await migrate(database)
    say("\n".join(f"applied {name}" for name in done) or "The schema is up to date.")


async def add_user(settings: Settings, email: str) -> None:
    """A new account; prints its key, and makes none where that cannot be printed."""
    vault, address = Vault.of(secret_of(settings)), _checked(email)
    async with migrated(settings, new=True) as database:
        await check_secret(database, vault)
        user = await accounts.reserve_id(database)
        key, account = new_account(user, address, settings.default_plan, vault, verified=True)
        async with database.transaction() as db:
            if await accounts.add(db, account) is None:
                raise CommandFailed(f"There is an account with the address {account.email}.")
            say(key)


async def list_users(settings: Settings) -> None:
    """A line an account."""
    async with migrated(settings) as database:
        rows = await users.everyone(database)
    for row in rows:
        state = "revoked" if row.revoked_at else "active"
        say(f"{row.email}\t{row.plan}\t{row.live_cues} cues\t{row.prefix or '-'}\t{state}")


async def new_key(settings: Settings, email: str) -> None:
    """Replace an account's key; prints the new one. The old one serves on where that cannot be printed."""
    async with migrated(settings) as database:
        vault = Vault.of(secret_of(settings))
        await check_secret(database, vault)
        row = await account_of(database, email)
        user: int = row.id
        async with database.transaction() as db:
            await accounts.lock(db, user)
            await users.readmit(db, user, OPERATOR)
            key = await replace_key(db, user, vault, OPERATOR)
            if settings.mailer is not None:
                await notifications.add_notice(db, user=user, what="key_replaced", origin="the server's operator")
            say(key)
    if row.revoked:
        click.echo(f"{email} was revoked and is admitted again; its cues rest until they are resumed.", err=True)


async def verify(settings: Settings, email: str) -> None:
    """Count the address as verified: its owner is known to the operator. Key and sessions stay."""
    async with migrated(settings) as database:
        await addresses.verify(database, await _user(database, email), OPERATOR)
    say(f"{email} is verified.")


async def link(settings: Settings, email: str) -> None:
    """Print a link that signs a browser in; where there is no account yet, it makes the first one."""
    if not settings.dashboard:
        raise CommandFailed("There is no dashboard: DASHBOARD is false.")
    async with migrated(settings, new=True) as database:
        row = await addresses.by_email(database, email)
        if row is None and await sign_in_links.no_accounts(database):
            email = _checked(email)
        elif (row or await account_of(database, email)).revoked:
            raise CommandFailed(f"{email} is revoked; cueapid user key {email} admits it again.")
        address = settings.url_at(settings.port)
        say(await new_link(database, address, email))


async def set_limits(
    settings: Settings, email: str, *, cues: int | None, executions: int | None, rate: int | None
) -> None:
    """Numbers of the account's own."""
    if cues is None and executions is None and rate is None:
        raise CommandFailed("Give --cues, --executions, --rate, or several.")
    async with migrated(settings) as database:
        user = await _user(database, email)
        await users.set_limits(database, user, cues=cues, executions=executions, rate=rate, act=OPERATOR)
        await notify.notify(database, f"{COMMAND} account:{user}")
    say(f"The limits of {email} are set.")


async def revoke(settings: Settings, email: str) -> None:
    """End keys and sessions, pause the cues."""
    async with migrated(settings) as database:
        user = await _user(database, email)
        async with database.transaction() as db:
            await accounts.lock(db, user)
            await users.revoke(db, user, OPERATOR)
    say(f"{email} is revoked: its keys and sessions are dead, its cues paused.")


async def accept_secret(settings: Settings) -> None:
    """Go on with the present secret where the former one is lost."""
    async with migrated(settings) as database:
        ours = Vault.of(secret_of(settings)).fingerprint
        if await fingerprints.known_fingerprint(database) == ours:
            say("The database goes with this secret already: nothing is changed.")
            return
        await fingerprints.accept_fingerprint(database, ours)
    say(
        "The database goes with this secret from now on. Keys work as before; those that were made under the former "
        "secret cannot be shown again, and sessions have ended. Webhook secrets and callback headers of that time "
        "cannot be read: deliveries fail until their users make new secrets (POST /v1/auth/webhook-secret/regenerate) "
        "and set callback.headers anew; cueapid check counts them. Start every daemon anew."
    )


def _checked(email: str) -> str:
    try:
        return checked_email(email)
    except Refusal as refusal:
        raise CommandFailed(refusal.message.removeprefix("body.")) from None


async def _user(database: Database, email: str) -> int:
    user: int = (await account_of(database, email)).id
    return user


async def account_of(database: Database, email: str) -> addresses.AddressRow:
    """The account of an address. Raises CommandFailed where there is none."""
    row = await addresses.by_email(database, email)
    if row is None:
        raise CommandFailed(f"There is no account with the address {email}.")
    return row
