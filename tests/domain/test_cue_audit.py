"""What the audit says of a cue's change."""

from attrs import evolve, fields

from cueapi.domain.assertion import Assertion
from cueapi.domain.cue import Cue, Schedule
from cueapi.domain.cue_audit import cue_entries, described
from cueapi.domain.masking import MASK
from cueapi.domain.verification import VerificationRules

CUE = Cue("brief", Schedule("recurring", cron="0 9 * * *"))


def test_whatever_a_user_says_of_a_cue_is_told_where_it_changes() -> None:
    assert set(described(CUE)) | {"status"} == {one.name for one in fields(Cue)}


def test_the_status_has_a_row_of_its_own_behind_that_of_all_else() -> None:
    after = evolve(CUE, budget={"per": "day", "max_runs": 3}, group="night")

    paused, resumed = cue_entries(CUE, after, "paused"), cue_entries(evolve(CUE, status="failed"), CUE, "active")

    assert [one["action"] for one in paused] == ["cue.updated", "cue.paused"]
    assert paused[0]["changes"] == [
        {"path": "group", "from": None, "to": "night"},
        {"path": "budget", "from": None, "to": {"per": "day", "max_runs": 3}},
    ]
    assert resumed == [{"action": "cue.resumed", "changes": [{"path": "status", "from": "failed", "to": "active"}]}]


def test_what_changes_nothing_is_not_told() -> None:
    assert cue_entries(CUE, evolve(CUE, payload={}), "active") == []


def test_what_a_success_must_say_is_told_by_its_parts_and_without_secrets() -> None:
    pages, token = Assertion("metadata.pages", ">=", 1), Assertion("metadata.token", "=", "hunter2")
    given = evolve(CUE, verification=VerificationRules("manual", (pages, token), "fail"))
    moved = evolve(given, verification=VerificationRules("manual", (pages, evolve(token, value="hunter3")), "fail"))

    told = cue_entries(CUE, given, "active")[0]["changes"]
    masked = [
        {"field": "metadata.pages", "op": ">=", "value": 1},
        {"field": "metadata.token", "op": "=", "value": MASK},
    ]

    assert told == [
        {"path": "verification.mode", "from": "none", "to": "manual"},
        {"path": "verification.assert", "from": None, "to": masked},
        {"path": "verification.on_failed", "from": "keep", "to": "fail"},
    ]
    assert cue_entries(given, moved, "active")[0]["changes"] == [
        {"path": "verification.assert", "from": masked, "to": masked}
    ]
    assert "hunter" not in str(cue_entries(moved, CUE, "active"))
