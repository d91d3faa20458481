"""What the tests of keys do again and again."""

from typing import Any

from attrs import evolve

from tests.conftest import Api


async def made(api: Api, *scopes: str, **fields: Any) -> dict[str, Any]:
    """A new key of the account, with its text."""
    return await api.post("/v1/keys", {"name": "ci", "scopes": scopes or ["read"], **fields})


async def with_key(api: Api, *scopes: str, **fields: Any) -> Api:
    """The same account, asked with a new key."""
    return evolve(api, key=(await made(api, *scopes, **fields))["api_key"])
