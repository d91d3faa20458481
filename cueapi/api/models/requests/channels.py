"""Bodies about channels."""

from typing import Annotated

from pydantic import Field

from cueapi.api.models.requests.bodies import ReasonBody, Short, Specifier, Url, optional
from cueapi.api.models.values import GROUP, TOPIC, ChannelKind, IncidentKind, NoticeEvent, Severity

Name = Annotated[str, Field(min_length=1, max_length=100)]
Topic = Annotated[str, Field(pattern=TOPIC)]
Token = Annotated[str, Field(pattern="^[\\x21-\\x7e]{1,200}$")]
Events = Annotated[list[NoticeEvent], Field(min_length=1, max_length=4)]
Groups = Annotated[list[Annotated[str, Field(pattern=GROUP)]], Field(min_length=1, max_length=20)]
Kinds = Annotated[list[IncidentKind], Field(min_length=1, max_length=8)]
ALL = ["opened", "resolved", "reminder", "digest"]


class ChannelBody(ReasonBody):
    """Where to hear of incidents, and of which."""

    kind: ChannelKind = Field(description="How it is spoken to; `slack` also serves Mattermost and Rocket.Chat.")
    name: Name = Field(description="Name for people.")
    url: Url | None = optional("Where messages go: of webhook, slack, discord, and of ntfy the server.")
    topic: Topic | None = optional("Topic of ntfy.")
    address: Short | None = optional("Mail address; one that is not the account's is sent a link to confirm it.")
    token: Token | None = optional("Access token of ntfy.")
    on: Events | None = optional("What to tell; from the 21st in 5 minutes on a digest tells.", ALL)
    min_severity: Severity | None = optional("Only incidents that are at least so bad.", "warning")
    groups: Groups | None = optional("Only incidents of cues of these groups.", left_out="all")
    kinds: Kinds | None = optional("Only incidents of these kinds.", left_out="all")


def _kept(description: str) -> Specifier:
    """A field that may be left out; the default is never looked at, and not told."""
    return Field(default_factory=lambda: None, description=description)


class ChannelPatch(ReasonBody):
    """What is left out stays; null clears `token`, `groups` and `kinds`."""

    name: Name = _kept("Name for people.")
    url: Url = _kept("Where messages go.")
    topic: Topic = _kept("Topic of ntfy.")
    address: Short = _kept("Mail address; one that is not confirmed is sent a link, anew where it is the same.")
    token: Token | None = _kept("Access token of ntfy.")
    on: Events = _kept("What to tell.")
    min_severity: Severity = _kept("Only incidents that are at least so bad.")
    groups: Groups | None = _kept("Only incidents of cues of these groups.")
    kinds: Kinds | None = _kept("Only incidents of these kinds.")
    enabled: bool = _kept("Whether messages are sent; `true` also after it was disabled.")
