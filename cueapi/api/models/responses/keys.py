"""Answers about keys."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Rendered
from cueapi.api.models.values import ApiKey, Scope

KeyId = Annotated[str, Field(pattern="^key_[a-z0-9]{12}$")]


class UsedKey(BaseModel):
    """The key that a request was sent with."""

    id: KeyId = Field(description="Id of the key.")
    name: str = Field(description="What its owner calls it.")
    own: bool = Field(description="Whether it is the account's own, which may do everything.")
    scopes: list[Scope] = Field(description="What it may do.")
    groups: list[str] | None = Field(description="Only cues of these groups exist for it; null: all cues.")
    expires_at: datetime | None = Field(description="From when it is refused; null: never.")


class ListedKey(Rendered):
    """A key, without its text."""

    id: KeyId = Field(description="Id of the key; it opens nothing.")
    name: str = Field(description="What its owner calls it.")
    prefix: str = Field(description="The first 14 characters of its text.")
    own: bool = Field(description="Whether it is the account's own, which may do everything.")
    scopes: list[Scope] = Field(description="What it may do.")
    groups: list[str] | None = Field(description="Only cues of these groups exist for it; null: all cues.")
    created_at: datetime = Field(description="When it was made.")
    expires_at: datetime | None = Field(description="From when it is refused; null: never.")
    last_used_at: datetime | None = Field(description="The minute in which it was last used; null: never.")
    last_used_from: str | None = Field(description="The address from which it was last used; null: never used.")


class MadeKey(ListedKey):
    """A key with its text, which is shown this once."""

    api_key: ApiKey | None = Field(
        default=None, description="The text of the key. Left out where the answer is repeated by an Idempotency-Key."
    )


class RotatedKey(MadeKey):
    """A key with its new text, which is shown this once."""

    former_serves_until: datetime | None = Field(description="Until when its former text serves; null: it has ended.")


class KeyList(BaseModel):
    """The keys of the account that serve."""

    keys: list[ListedKey] = Field(description="The keys, the newest first.")
