"""What names a notification to its receiver."""

import pytest

from cueapi.domain.notification import message_id

FAILURE = {"event": "cue.failed", "cue_id": "cue_abcdefghijkl", "execution_id": "0190"}


def test_an_alert_is_named_by_its_own_id() -> None:
    assert message_id("alert_webhook", {"alert_id": "a1", "execution_id": "0190"}, 7) == "a1"


def test_a_failure_is_named_by_its_execution_and_not_as_the_delivery_was() -> None:
    assert message_id("failure_webhook", FAILURE, 7) == message_id("failure_webhook", FAILURE, 8) == "failure-0190"


def test_each_failure_of_a_cue_without_an_execution_has_a_name_of_its_own() -> None:
    names = {message_id("failure_webhook", FAILURE | {"execution_id": None}, number) for number in (7, 8)}

    assert names == {"failure-cue_abcdefghijkl-7", "failure-cue_abcdefghijkl-8"}


@pytest.mark.parametrize("kind", ["alert_webhook", "failure_webhook"])
def test_a_damaged_notification_has_no_name(kind: str) -> None:
    with pytest.raises(KeyError):
        message_id(kind, {}, 7)
