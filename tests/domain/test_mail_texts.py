"""Whatever others have written, it makes no line of its own in a mail."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cueapi.domain.channel_message import mail_for
from cueapi.domain.incident import headline, incident_text, one_line
from cueapi.domain.notification import failure_subject, failure_text, notice_text

AT = "https://cue.example.com/ui"
BREAKS = "\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029\x00\x08\x1b"
FORGED = "boom\n\nIncident:   https://evil.example/x"


def incident(title: str, name: str, *, ended: bool, resolution: str | None = None) -> dict[str, object]:
    """An incident of which others have written the title and the name."""
    return {
        "id": "01985f3a-9f20-7c88-b3d5-7e1a4c6f0b30", "kind": "failing", "title": title, "severity": "critical",
        "subject": {"kind": "cue", "id": "cue_abcdefghijkl", "name": name}, "cue_id": "cue_abcdefghijkl",
        "opened_at": "2026-06-02T16:00:00Z", "resolved_at": "2026-06-02T16:42:00Z" if ended else None, "events": 1,
        "resolution": resolution, "last_execution_id": "01985f3a-9f20-7c88-b3d5-7e1a4c6f0b31",
    }  # fmt: skip


def mails(text: str) -> list[tuple[str, str]]:
    """Subject and text of each mail that quotes others, where all that they have written is *text*."""
    failure = {
        "cue_name": text, "cue_id": "cue_abcdefghijkl", "execution_id": "0190", "attempts": 1, "last_error": text,
        "failed_at": "2026-06-02T16:00:00Z", "incident_id": "0191", "since": "2026-06-02T16:00:00Z", "last": True,
    }  # fmt: skip
    told = [
        ("opened", incident(text, text, ended=False)),
        ("reminder", incident(text, text, ended=False)),
        ("resolved", incident(text, text, ended=True)),
        ("resolved", incident(text, text, ended=True, resolution=text)),
    ]
    digest = {
        "event": "incident.digest", "since": "2026-06-02T16:00:00Z", "opened": 2, "resolved": 0, "reminders": 0,
        "titles": [text, text],
    }  # fmt: skip
    notice = {"what": "key_made", "name": text, "at": "2026-06-02T16:00:00Z", "from": "127.0.0.1"}
    return [
        *((failure_subject(one), failure_text(one, AT)) for one in (failure, {**failure, "execution_id": None})),
        *((headline(event, one), incident_text(event, one, AT)) for event, one in told),
        *(mail_for({"event": f"incident.{event}", "incident": one}, AT) for event, one in told),
        mail_for(digest, AT),
        ("", notice_text(notice, AT)),
    ]


@given(st.text(st.one_of(st.sampled_from(BREAKS), st.characters()), max_size=40))
@example(FORGED)
def test_a_mail_has_as_many_lines_whatever_others_have_written(text: str) -> None:
    for (subject, found), (_, plain) in zip(mails(text), mails("x"), strict=True):
        lines = found.splitlines()
        assert len(lines) == len(plain.splitlines())
        assert not any(unicodedata.category(sign) == "Cc" for line in (subject, *lines) for sign in line)
        assert not any(line.startswith("Incident:") and "evil" in line for line in lines)


@pytest.mark.parametrize("sign", BREAKS)
def test_what_parts_lines_becomes_a_space(sign: str) -> None:
    assert one_line(f"{sign}a{sign}{sign}b {sign}") == "a b"


def test_letters_of_all_languages_and_joined_signs_stay() -> None:
    text = "Bericht für München 日報 می‌خواهم 👩‍💻"

    assert one_line(text) == text
