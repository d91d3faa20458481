"""What is said of an incident."""

import pytest

from cueapi.domain.incident import FOLLOWS, IncidentKind, headline, in_words, incident_text

INCIDENT = {
    "id": "01985f3a-9f20-7c88-b3d5-7e1a4c6f0b30", "kind": "failing", "title": "brief is failing: refused",
    "subject": {"kind": "cue", "id": "cue_abcdefghijkl", "name": "brief"}, "cue_id": "cue_abcdefghijkl",
    "opened_at": "2026-06-02T16:00:00.000000Z", "resolved_at": None, "resolution": None, "last_execution_id": None,
}  # fmt: skip
ENDED = INCIDENT | {"resolved_at": "2026-06-02T16:42:30.000000Z"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"), (59, "59 seconds"), (60, "1 minute"), (2520, "42 minutes"), (7199, "119 minutes"),
        (7200, "2 hours"), (172_799, "47 hours"), (172_800, "2 days"),
    ],
)  # fmt: skip
def test_a_time_is_said_in_one_unit(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("event", "incident", "said"),
    [
        ("opened", INCIDENT, "brief is failing: refused"),
        ("reminder", INCIDENT, "Still open: brief is failing: refused"),
        ("resolved", ENDED, "brief recovered after 42 minutes"),
        (
            "resolved", ENDED | {"title": "brief is failing (the cue was paused)", "resolution": "the cue was paused"},
            "brief is failing (the cue was paused), after 42 minutes",
        ),
    ],
)  # fmt: skip
def test_each_event_has_a_headline(event: str, incident: dict[str, object], said: str) -> None:
    assert headline(event, incident) == said


def test_a_mail_says_what_is_wrong_since_when_what_follows_and_where_to_look() -> None:
    text = incident_text("opened", INCIDENT, "https://cue.example.com/ui")

    assert "brief is failing: refused." in text
    assert "Since:      2026-06-02T16:00:00.000000Z" in text
    assert "https://cue.example.com/ui/incidents/01985f3a-9f20-7c88-b3d5-7e1a4c6f0b30" in text
    assert FOLLOWS[IncidentKind.FAILING] in text


def test_what_follows_is_said_of_each_kind() -> None:
    assert set(FOLLOWS) == set(IncidentKind)
