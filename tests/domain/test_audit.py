"""What an audit says of a change."""

import json

from cueapi.domain.audit import Act, Actor, changes


def test_a_change_names_each_field_by_its_path() -> None:
    before = {"name": "a", "schedule": {"cron": "0 9 * * *", "timezone": "UTC"}, "group": None}
    after = {"name": "a", "schedule": {"cron": "0 8 * * *", "timezone": "UTC"}, "group": "night"}
    assert changes(before, after) == [
        {"path": "schedule.cron", "from": "0 9 * * *", "to": "0 8 * * *"},
        {"path": "group", "from": None, "to": "night"},
    ]


def test_what_one_side_lacks_is_null_there_and_true_is_not_1() -> None:
    assert changes({"old": 1, "flag": True}, {"new": 2, "flag": 1}) == [
        {"path": "old", "from": 1, "to": None},
        {"path": "flag", "from": True, "to": 1},
        {"path": "new", "from": None, "to": 2},
    ]


def test_an_act_is_written_as_the_statements_read_it() -> None:
    act = Act(Actor("key", "key_1", "ci"), "deploy", "r1", "127.0.0.1")
    assert json.loads(act.text()) == {
        "actor": {"kind": "key", "id": "key_1", "name": "ci"},
        "reason": "deploy",
        "request_id": "r1",
        "address": "127.0.0.1",
    }
