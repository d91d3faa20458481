"""Channels: where a user wants to hear of incidents, and what a place of each kind needs."""

from enum import StrEnum
from urllib.parse import urlsplit

from attrs import field, frozen

MOST_CHANNELS = 20
"""How many a user may have."""


class ChannelKind(StrEnum):
    """How a channel is spoken to."""

    WEBHOOK = "webhook"
    """Signed JSON (Standard Webhooks)."""
    SLACK = "slack"
    """An incoming webhook of Slack; Mattermost and Rocket.Chat take the same."""
    DISCORD = "discord"
    NTFY = "ntfy"
    EMAIL = "email"


class NoticeEvent(StrEnum):
    """What a channel is told of."""

    OPENED = "opened"
    RESOLVED = "resolved"
    REMINDER = "reminder"
    DIGEST = "digest"
    """Of many at once."""


NEEDS = {
    ChannelKind.WEBHOOK: ("url",),
    ChannelKind.SLACK: ("url",),
    ChannelKind.DISCORD: ("url",),
    ChannelKind.NTFY: ("url", "topic"),
    ChannelKind.EMAIL: ("address",),
}
"""What a channel of a kind must have."""

TAKES = {kind: needs + (("token",) if kind is ChannelKind.NTFY else ()) for kind, needs in NEEDS.items()}
"""What it may have."""

WITH_SECRET_URL = frozenset({ChannelKind.SLACK, ChannelKind.DISCORD})
"""Their URLs let anyone write who knows them."""


@frozen
class ChannelTarget:
    """Where the messages of a channel go, with what is secret of it."""

    kind: str
    url: str = field(default="", repr=False)
    topic: str = ""
    address: str = field(default="", repr=False)
    token: str | None = field(default=None, repr=False)
    secret: str = field(default="", repr=False)
    """What messages to a webhook are signed with."""


def shown_place(target: ChannelTarget) -> str:
    """Where it leads, without what is secret: of a URL that is, its host and its last four characters."""
    if target.kind == ChannelKind.EMAIL:
        return target.address
    if target.kind not in WITH_SECRET_URL:
        return target.url
    parts = urlsplit(target.url)
    return f"{parts.scheme}://{parts.netloc}/…{target.url[-4:]}"
