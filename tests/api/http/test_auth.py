"""What is remembered of who asks: nothing that has changed while it was being looked up."""

import pytest
import trio
from attrs import define, field

from cueapi.api.http.auth import Authenticator
from cueapi.domain.errors import NotSignedIn
from cueapi.domain.plan import PLANS
from cueapi.security.sessions import Sessions
from cueapi.storage import accounts
from cueapi.storage.accounts import NewAccount
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, R
from tests.conftest import SECRET

KEY = "cue_sk_" + "a" * 32


@define(eq=False)
class Overtaken:
    """A database whose answer arrives after the key was replaced, and after that was heard of."""

    database: Database
    authenticator: Authenticator | None = None
    asked: int = field(default=0)

    async def fetch_one(self, statement: str, *values: object, row: type[R] | None = None) -> R | None:
        found = await self.database.fetch_one(statement, *values, row=row)
        self.asked += 1
        if self.asked == 1 and self.authenticator is not None and found is not None:
            await self.database.execute("update api_keys set rotated_at = now()")
            self.authenticator.invalidate(found["id"])
        return found


async def test_a_key_that_is_replaced_while_it_is_looked_up_is_not_remembered(database: Database) -> None:
    new = NewAccount(1, "you@example.com", "free", bytes(37), accounts.digest(KEY), KEY[:14], bytes(37))
    await accounts.add(database, new)
    overtaken = Overtaken(database)
    authenticator = overtaken.authenticator = Authenticator(overtaken, PLANS, Sessions.of(SECRET), Clock())
    authenticator.mark_cache_valid(heard=True)

    with trio.fail_after(10):
        await authenticator.account(f"Bearer {KEY}")
        with pytest.raises(NotSignedIn) as refused:
            await authenticator.account(f"Bearer {KEY}")

    assert refused.value.code == "key_rotated"
