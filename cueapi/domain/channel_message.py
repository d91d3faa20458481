"""What a message about incidents says on each kind of channel, in the form which that service documents."""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import frozen

from cueapi.domain.channel import ChannelKind, ChannelTarget
from cueapi.domain.incident import headline, incident_text, one_line, page_of
from cueapi.domain.signature import Headers, canonical_json, notice_headers

Content: TypeAlias = Mapping[str, Any]
"""`event` (`incident.opened`, …) with its `incident`; of a digest its numbers and some titles; of a test a sentence."""

TEST: Content = {"event": "channel.test", "message": "This is a test: messages of CueAPI arrive here."}

JSON: Headers = [("Content-Type", "application/json"), ("User-Agent", "CueAPI/1.0"), ("Accept-Encoding", "identity")]
CONTENT_LIMIT, TITLE_LIMIT, DESCRIPTION_LIMIT = 2_000, 256, 4_096
"""Characters of a Discord message, of the title and of the description of its embed."""
SLACK_LIMIT = 3_000
"""Characters; Slack cuts at 40,000 and recommends 4,000."""
NTFY_LIMIT = 4_000
"""Bytes; above 4,096 ntfy makes a file of a message."""
COLOURS = {"critical": 0xC1272D, "warning": 0x8A5A00, "good": 0x14763F}
PRIORITIES = {"critical": 5, "warning": 4, "good": 3}
TAGS = {"critical": "rotating_light", "warning": "warning", "good": "white_check_mark"}
SIGNS = {"critical": "▲", "warning": "◆", "good": "●"}


@frozen
class ChannelRequest:
    """One POST."""

    url: str
    headers: Headers
    body: bytes


@frozen
class Wording:
    """A message in words: how bad it is (`good`: it is over), one line, more lines, and where more is shown."""

    tone: str
    line: str
    more: str
    link: str


def said(content: Content, shown_at: str) -> Wording:
    """What *content* says; *shown_at* is the URL below which pages, or answers, are. Raises KeyError where damaged."""
    event = content["event"].removeprefix("incident.")
    if event == "channel.test":
        return Wording("good", content["message"], "", f"{shown_at}/channels")
    if event == "digest":
        return _digest(content, shown_at)
    incident = content["incident"]
    tone = "good" if event == "resolved" else incident["severity"]
    since = f"Since {_minute(incident['opened_at'])}; it has happened {_times(incident['events'])}."
    return Wording(tone, headline(event, incident), "" if event == "resolved" else since, page_of(incident, shown_at))


def _digest(content: Content, shown_at: str) -> Wording:
    counted = [(content["opened"], "opened"), (content["resolved"], "ended"), (content["reminders"], "still open")]
    parts = ", ".join(f"{number:,} {word}" for number, word in counted if number)
    line = f"Many incidents since {_minute(content['since'])}: {parts}"
    titles = "\n".join(f"- {one_line(title)}" for title in content["titles"])
    rest = sum(number for number, _ in counted) - len(content["titles"])
    more = titles if rest <= 0 else f"{titles}\n- and {rest:,} more"
    return Wording("critical" if content["opened"] else "warning", line, more, f"{shown_at}/incidents?status=open")


def _minute(moment: str) -> str:
    """A moment as the API writes it, for people."""
    return f"{moment[:10]} {moment[11:16]} UTC"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def request_for(
    target: ChannelTarget, content: Content, *, message_id: str, timestamp: int, shown_at: str
) -> ChannelRequest:
    """The request that tells a channel of *content*; *message_id* is the same on each attempt."""
    match target.kind:
        case ChannelKind.SLACK:
            return ChannelRequest(target.url, JSON, _json(slack(said(content, shown_at))))
        case ChannelKind.DISCORD:
            return ChannelRequest(target.url, JSON, _json(discord(said(content, shown_at))))
        case ChannelKind.NTFY:
            headers = JSON + ([("Authorization", f"Bearer {target.token}")] if target.token else [])
            return ChannelRequest(target.url, headers, _json(ntfy(said(content, shown_at), target.topic)))
        case _:
            body = canonical_json({name: value for name, value in content.items() if name != "number"})
            return ChannelRequest(target.url, notice_headers(target.secret, message_id, timestamp, body), body)


def mail_for(content: Content, shown_at: str) -> tuple[str, str]:
    """Subject and text of a mail that tells of *content*."""
    message = said(content, shown_at)
    event = content["event"].removeprefix("incident.")
    if "incident" in content:
        return f"CueAPI: {message.line}", incident_text(event, content["incident"], shown_at)
    return f"CueAPI: {message.line}", "\n\n".join(filter(None, (f"{message.line}.", message.more, message.link))) + "\n"


def slack(message: Wording) -> dict[str, Any]:
    """
    The body of an incoming webhook of Slack.

    `&`, `<` and `>` are escaped, as its documentation asks (Formatting text for app surfaces): no text of others
    becomes a link or a mention. A link is `<url|text>`. Mattermost and Rocket.Chat, which take the same, read Markdown
    and mentions in plain text: what would be one is parted by a character without a width.
    """
    lines = [f"{SIGNS[message.tone]} {_cut(message.line, SLACK_LIMIT // 3)}", _cut(message.more, SLACK_LIMIT // 2)]
    text = "\n".join(_parted(_escaped(line)) for line in lines if line)
    return {"text": f"{text}\n<{_escaped(message.link)}|Open in CueAPI>"}


def discord(message: Wording) -> dict[str, Any]:
    """
    The body of a webhook of Discord: at most 2,000 characters of content, 256 of a title, 4,096 of a description.

    Markdown is escaped, and `allowed_mentions` lets nothing be mentioned.
    """
    embed: dict[str, Any] = {"title": "Open in CueAPI", "url": message.link, "color": COLOURS[message.tone]}
    if message.more:
        embed["description"] = _cut(_plain(message.more), DESCRIPTION_LIMIT)
    content = f"{SIGNS[message.tone]} {_plain(_cut(message.line, CONTENT_LIMIT // 3))}"
    return {"content": content, "embeds": [embed], "allowed_mentions": {"parse": []}}


def ntfy(message: Wording, topic: str) -> dict[str, Any]:
    """A message as ntfy takes it as JSON, at the root of its server. Its text is plain: there is nothing to escape."""
    text = message.more or message.line
    return {
        "topic": topic,
        "title": _cut(message.line, 200),
        "message": text.encode()[:NTFY_LIMIT].decode("utf-8", "ignore"),
        "priority": PRIORITIES[message.tone],
        "tags": [TAGS[message.tone]],
        "click": message.link,
    }


_MARKDOWN = re.compile(r"([\\*_~`|>#\[\]()<:@-])")
_LINK_OR_MENTION = re.compile(r"@|](?=[(:])")


def _plain(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _parted(text: str) -> str:
    return _LINK_OR_MENTION.sub("\\g<0>\u200b", text)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
