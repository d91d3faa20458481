"""Answers about who has done what."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Column, Columns, Rendered, json_in

ActorKind = Literal["key", "session", "operator", "system", "mcp"]


class Actor(Rendered):
    """Who acts."""

    columns: ClassVar[Columns] = {name: Column(f"actor_{name}") for name in ("kind", "id", "name")}

    kind: ActorKind = Field(
        description="`key`: a program; `session`: a person who is signed in; `operator`: a command on the server; "
        "`system`: the server itself; `mcp`: a model's tool."
    )
    id: str | None = Field(description="Which of its kind; null where they are not told apart.")
    name: str | None = Field(description="What people call it.")


class Subject(Rendered):
    """What was changed."""

    columns: ClassVar[Columns] = {name: Column(f"subject_{name}") for name in ("kind", "id", "name")}

    kind: str = Field(description="What kind of thing: `cue`, `key`, `secret`, `account`, `execution`, …")
    id: str | None = Field(description="Its id.")
    name: str | None = Field(description="Its name at that time.")


class Change(BaseModel):
    """One field that was changed. What may be secret is masked, and long values are cut."""

    path: str = Field(description="Where the field stands, as in `schedule.cron`.")
    # `from` is a word of Python's.
    before: Any = Field(alias="from", description="What it was; null where it was not there.")
    to: Any = Field(description="What it is now; null where it is gone.")


class AuditEntry(Rendered):
    """Who did what, and why."""

    columns: ClassVar[Columns] = {"changes": json_in("changes")}

    at: datetime = Field(description="When it was done.")
    actor: Actor = Field(description="Who did it.")
    action: str = Field(description="What was done, as in `cue.paused`.")
    subject: Subject = Field(description="To what.")
    changes: list[Change] = Field(description="What it has changed, field by field.")
    reason: str | None = Field(description="Why, where that was said: `reason` in the body, or the header X-Reason.")
    request_id: str | None = Field(description="The request that did it, as in its X-Request-Id; null for the server.")
    address: str | None = Field(description="Where the request came from.")


class Audit(BaseModel):
    """What was done, the newest first."""

    audit: list[AuditEntry] = Field(description="The entries of this page.")
    has_more: bool = Field(description="Whether there are more behind them.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")
