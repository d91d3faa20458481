"""What the audit says of a cue's change."""

from attrs import evolve, fields

from cueapi.domain.cue import Cue, Schedule
from cueapi.domain.cue_audit import cue_entries, described

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
