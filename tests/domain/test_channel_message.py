"""What is said on each kind of channel: in the form that its service documents, whatever others have written."""

import json
from typing import Any

import pytest

from cueapi.domain.channel import ChannelKind, ChannelTarget, shown_place
from cueapi.domain.channel_message import TEST, ChannelRequest, mail_for, request_for

HOSTILE = "<!channel> & <https://evil.example.com|here> @everyone @channel *bold* [x](https://evil.example.com) `a`"
AT = "https://cue.example.com/ui"


def content(title: str = "brief is failing: refused", event: str = "opened", **fields: Any) -> dict[str, Any]:
    incident = {
        "id": "01985f3a-9f20-7c88-b3d5-7e1a4c6f0b30", "kind": "failing", "title": title, "severity": "critical",
        "subject": {"kind": "cue", "id": "cue_abcdefghijkl", "name": "brief"}, "cue_id": "cue_abcdefghijkl",
        "opened_at": "2026-06-02T16:00:00Z", "resolved_at": None, "resolution": None, "events": 1,
        "last_execution_id": None,
    }  # fmt: skip
    return {"event": f"incident.{event}", "incident": incident | fields, "number": 0}


DIGEST = {
    "event": "incident.digest", "since": "2026-06-02T16:00:00Z", "opened": 9_980, "resolved": 0, "reminders": 0,
    "titles": [HOSTILE] * 10,
}  # fmt: skip


def request(kind: str, said: Any, **fields: Any) -> ChannelRequest:
    target = ChannelTarget(kind, url="https://chat.example.com/hook/secret", **fields)
    return request_for(target, said, message_id="opened-1", timestamp=1_780_000_000, shown_at=AT)


def body(kind: str, said: Any, **fields: Any) -> dict[str, Any]:
    return dict(json.loads(request(kind, said, **fields).body))


def test_slack_escapes_what_would_be_a_link_or_a_mention() -> None:
    text = body("slack", content(HOSTILE))["text"]

    written = text.rsplit("\n", 1)[0]
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example.com|here&gt;" in written
    assert "<" not in written
    assert "@everyone" not in written
    assert text.endswith(f"<{AT}/incidents/01985f3a-9f20-7c88-b3d5-7e1a4c6f0b30|Open in CueAPI>")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[x](https://evil.example.com)", "[x]\u200b(https://evil.example.com)"),
        ("![x](https://evil.example.com/p.png)", "![x]\u200b(https://evil.example.com/p.png)"),
        ("[x]: https://evil.example.com", "[x]\u200b: https://evil.example.com"),
        ("@anna and @HERE", "@\u200banna and @\u200bHERE"),
        ("exit [1] at 12:00 (again)", "exit [1] at 12:00 (again)"),
    ],
)
def test_what_mattermost_would_read_as_a_link_or_a_mention_is_parted(written: str, told: str) -> None:
    digest = DIGEST | {"titles": [written]}

    assert f" {told}\n" in body("slack", content(written))["text"]
    assert f"- {told}\n" in body("slack", digest)["text"]


def test_discord_escapes_markdown_and_lets_nothing_be_mentioned() -> None:
    told = body("discord", content(HOSTILE))

    assert told["allowed_mentions"] == {"parse": []}
    assert "\\*bold\\*" in told["content"]
    assert "\\[x\\]\\(https\\://evil.example.com\\)" in told["content"]
    assert told["embeds"][0]["url"] == f"{AT}/incidents/01985f3a-9f20-7c88-b3d5-7e1a4c6f0b30"


@pytest.mark.parametrize(
    "said", [content("a\r\n● b\u2028c"), DIGEST | {"titles": ["a\r\n● b\u2028c"]}], ids=["one", "many"]
)
def test_what_others_have_written_is_one_line(said: dict[str, Any]) -> None:
    slack, discord, ntfy = body("slack", said), body("discord", said), body("ntfy", said, topic="cue")

    told = [
        slack["text"],
        discord["content"],
        discord["embeds"][0].get("description", ""),
        ntfy["title"],
        ntfy["message"],
    ]
    assert not any("\n● b" in text or "\r" in text or "\u2028" in text for text in told)
    assert any("a ● b c" in text for text in told)
    assert "\n" not in mail_for(said, AT)[0]


@pytest.mark.parametrize("said", [content("x" * 5_000), content("*" * 5_000), DIGEST | {"titles": ["*" * 300] * 10}])
def test_no_message_is_longer_than_its_service_takes(said: dict[str, Any]) -> None:
    discord = body("discord", said)
    embed = discord["embeds"][0]
    ntfy = body("ntfy", said, topic="cue")

    assert len(discord["content"]) <= 2_000
    assert len(embed["title"]) <= 256
    assert len(embed.get("description", "")) <= 4_096
    assert len(discord["content"]) + len(embed["title"]) + len(embed.get("description", "")) <= 6_000
    assert len(body("slack", said)["text"]) <= 4_000
    assert len(ntfy["message"].encode()) <= 4_096
    assert len(ntfy["title"]) <= 250


@pytest.mark.parametrize(
    ("said", "priority", "tag"),
    [
        (content(), 5, "rotating_light"),
        (content(severity="warning"), 4, "warning"),
        (content(event="resolved", resolved_at="2026-06-02T16:42:00Z"), 3, "white_check_mark"),
    ],
)
def test_ntfy_is_told_by_json_how_urgent_it_is(said: dict[str, Any], priority: int, tag: str) -> None:
    sent = request("ntfy", said, topic="cue", token="tk_1")
    told = json.loads(sent.body)

    assert (told["topic"], told["priority"], told["tags"]) == ("cue", priority, [tag])
    assert told["click"].startswith(AT)
    assert ("Authorization", "Bearer tk_1") in sent.headers
    assert "Authorization" not in dict(request("ntfy", said, topic="cue").headers)


def test_a_digest_says_how_many_and_names_some() -> None:
    subject, text = mail_for(DIGEST, AT)

    assert subject == "CueAPI: Many incidents since 2026-06-02 16:00 UTC: 9,980 opened"
    assert "- and 9,970 more" in text
    assert f"{AT}/incidents?status=open" in text


def test_the_mail_of_an_end_says_after_how_long() -> None:
    subject, _ = mail_for(content(event="resolved", resolved_at="2026-06-02T16:42:00Z"), AT)

    assert subject == "CueAPI: brief recovered after 42 minutes"


@pytest.mark.parametrize("kind", list(ChannelKind))
def test_a_test_message_has_a_form_on_every_channel(kind: str) -> None:
    told = mail_for(TEST, AT) if kind == "email" else request(kind, TEST, topic="cue", secret="whsec_" + "ab" * 32)

    assert "test" in str(told)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (ChannelTarget("slack", url="https://hooks.slack.com/services/T0/B0/fTzQmLxWq2"), "https://hooks.slack.com/…xWq2"),
        (ChannelTarget("webhook", url="https://example.com/in"), "https://example.com/in"),
        (ChannelTarget("email", address="you@example.com"), "you@example.com"),
    ],
)  # fmt: skip
def test_a_url_that_is_a_secret_is_shown_masked(target: ChannelTarget, place: str) -> None:
    assert shown_place(target) == place
    assert "secret" not in repr(ChannelTarget("slack", url="https://hooks.slack.com/secret"))
