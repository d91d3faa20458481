"""A channel as it is to be stored: from a body, or from a change of what stands there."""

import json
from typing import Any
from uuid import UUID

from attrs import evolve, frozen

from cueapi.domain.account import checked_email
from cueapi.domain.channel import NEEDS, TAKES, ChannelKind, ChannelTarget, shown_place
from cueapi.domain.confidential import Confidential
from cueapi.domain.errors import Invalid, Problem
from cueapi.domain.target import Rules
from cueapi.domain.url import split_url
from cueapi.net.dns import Resolver, check_reachable
from cueapi.security.vault import Vault
from cueapi.storage.channels import ChannelRow, ChannelValues

PLACES = ("url", "topic", "address", "token")
"""The fields that say where a channel leads."""


@frozen
class ChannelPlanner:
    """Checks where a channel leads by the rules of callbacks, and encrypts what is secret of it."""

    resolver: Resolver
    rules: Rules
    vault: Vault

    async def target(self, before: ChannelTarget, given: dict[str, Any]) -> ChannelTarget:
        """As `merged`; refuses what it may not reach, too."""
        target = self.merged(before, given)
        if given.get("url") is not None:
            await check_reachable(target.url, self.resolver, self.rules, code="invalid_channel_url")
        return target

    def merged(self, before: ChannelTarget, given: dict[str, Any]) -> ChannelTarget:
        """Where it leads with *given* places; refuses what its kind does not have, or lacks."""
        kind = ChannelKind(before.kind)
        named = {name: given[name] for name in PLACES if given.get(name) is not None}
        if odd := [name for name in named if name not in TAKES[kind]]:
            raise Invalid(*(Problem(f"body.{name}", f"is nothing that a channel of kind {kind} has") for name in odd))
        target = evolve(before, **named | ({"token": None} if given.get("token", "") is None else {}))
        if lacking := [name for name in NEEDS[kind] if not getattr(target, name)]:
            raise Invalid(*(Problem(f"body.{name}", f"is needed by a channel of kind {kind}") for name in lacking))
        if "address" in named:
            target = evolve(target, address=checked_email(named["address"], "body.address"))
        if kind is ChannelKind.NTFY and "url" in named and not is_root(target.url):
            raise Invalid(Problem("body.url", "must be that of the server alone: the topic has a field of its own"))
        return target

    def values(self, target: ChannelTarget, channel: UUID, said: dict[str, Any]) -> ChannelValues:
        """What is stored; *said* are the other fields of the channel. Refuses one that would hear of nothing."""
        if {*said["on"]} == {"digest"}:
            raise Invalid(Problem("body.on", "names nothing that a digest could be made of, for example opened"))
        secret = {"url": target.url, "token": target.token, "secret": target.secret}
        return ChannelValues(
            name=said["name"],
            shown=shown_place(target),
            topic=target.topic or None,
            has_token=target.token is not None,
            config=self.vault.encrypt(json.dumps(secret), Confidential.CHANNEL, channel),
            address=target.address or None,
            confirm_hash=said.get("confirm_hash"),
            events=list(dict.fromkeys(said["on"])),
            min_severity=said["min_severity"],
            groups=said["groups"],
            kinds=said["kinds"],
        )


def is_root(url: str) -> bool:
    """Whether a URL names a server and no place on it; what is no URL at all is refused elsewhere."""
    try:
        parts = split_url(url)
    except ValueError:
        return True
    return (parts.path, parts.query) == ("/", "")


def standing(row: ChannelRow) -> dict[str, Any]:
    """The fields of a channel that are not of its place, as they stand."""
    return {
        "name": row.name,
        "on": row.events,
        "min_severity": row.min_severity,
        "groups": row.groups,
        "kinds": row.kinds,
        "enabled": row.disabled_at is None,
    }


def shown(row: ChannelRow) -> dict[str, Any]:
    """A channel as it is answered, without anything secret."""
    same = ("id", "kind", "name", "topic", "address", "has_token", "min_severity", "groups", "kinds", "confirmed",
            "failing_since", "last_error", "disabled_at", "created_at", "updated_at")  # fmt: skip
    place = None if row.kind == ChannelKind.EMAIL else row.shown
    return {name: getattr(row, name) for name in same} | {"url": place, "on": row.events}
