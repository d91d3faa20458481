"""What the operator stops everything by: holds one account or all of them, and releases them."""

from datetime import datetime
from functools import partial

from attrs import evolve

from cueapi.cli.operator import COMMAND, CommandFailed, account_of, migrated, say
from cueapi.domain.audit import OPERATOR, REASON_LIMIT
from cueapi.domain.errors import Refusal
from cueapi.domain.hold import HoldMode, hold_until
from cueapi.settings import Settings
from cueapi.storage import holds, notify, users
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.storage.holds import HoldRequest, HoldRow


async def hold(
    settings: Settings, email: str | None, *, every: bool, mode: str | None, reason: str | None, until: str | None
) -> None:
    """Hold an account, or every one. A hold in force is never eased, unless its *mode* is given."""
    if reason is not None and len(reason) > REASON_LIMIT:
        raise CommandFailed(f"--reason may have {REASON_LIMIT} characters.")
    async with migrated(settings) as database:
        accounts = await _accounts(database, email, every=every)
        end = None if until is None else await _until(database, until)
        for user in accounts:
            request = _firmer(await holds.show(database, user), mode, reason, end)
            await holds.put(database, user=user, hold=request, act=evolve(OPERATOR, reason=reason))
    say(f"{_named(email, len(accounts))} held: nothing fires. cueapid release {email or '--all'} ends it.")


def _firmer(present: HoldRow | None, mode: str | None, reason: str | None, until: datetime | None) -> HoldRequest:
    """What is asked for, and what the *present* hold stops beyond that: its mode, its reason and its end."""
    if present is None:
        return HoldRequest(mode or HoldMode.FIRES, reason, until)
    end = None if until is None or present.until is None else max(until, present.until)
    return HoldRequest(mode or present.mode, reason or present.reason, end)


async def release(settings: Settings, email: str | None, *, every: bool) -> None:
    """Release an account, or every one that is held."""
    async with migrated(settings) as database:
        accounts = await _accounts(database, email, every=every)
        released = await holds.release(database, accounts, OPERATOR) if accounts else []
        work = [f"work:{user}" for user in released]
        if released:
            await notify.notify(database, " ".join((COMMAND, "cue:0", "delivery", *work)))
    if not released and email is not None:
        raise CommandFailed(f"{email} is not held.")
    say(f"{_named(email, len(released))} released: what was parked fires now.")


async def _accounts(database: Database, email: str | None, *, every: bool) -> list[int]:
    """The accounts that are meant. Raises CommandFailed where it is not clear which."""
    if every == (email is not None):
        raise CommandFailed("Give the address of an account, or --all.")
    if email is not None:
        return [(await account_of(database, email)).id]
    return [row.id for row in await users.everyone(database)]


async def _until(database: Database, text: str) -> datetime:
    try:
        return await Clock().decide(database, partial(hold_until, text))
    except Refusal as refusal:
        raise CommandFailed(refusal.message.removeprefix("body.")) from None


def _named(email: str | None, number: int) -> str:
    if email is not None:
        return f"{email} is"
    return "1 account is" if number == 1 else f"{number} accounts are"
