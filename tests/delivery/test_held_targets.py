"""What a daemon remembers of targets: what the rows say, and what it has done itself since they were asked for."""

from math import inf
from typing import Any

from attrs import frozen

from cueapi.delivery.held_targets import HeldTargets
from cueapi.storage.targets import TargetKey

TARGET, OTHER = TargetKey(1, "a.example:443"), TargetKey(2, "a.example:443")


@frozen
class Told:
    """A row, as the database tells it."""

    user_id: int | None
    host: str
    state: str
    due_in: float = 30.0
    closed_for: float = 0.0
    is_probed: bool = False
    is_awaited: bool = True
    opens: int = 1
    any_waits: bool = True


def known(*rows: Any) -> HeldTargets:
    held = HeldTargets(8)
    held.renew(rows, asked_at=0.0, now=100.0)
    return held


def test_an_open_target_is_probed_when_its_pause_is_over_and_where_something_waits() -> None:
    held = known(Told(*TARGET, "open"), Told(*OTHER, "open", due_in=-1.0))

    assert (held.to_probe(100.0), held.next_moment(100.0)) == ([OTHER], 130.0)
    assert held.to_probe(130.0) == [TARGET, OTHER]
    held.note_unawaited(OTHER)
    assert held.to_probe(130.0) == [TARGET]


def test_a_target_that_nothing_waits_for_is_not_probed_until_a_look_says_that_something_does() -> None:
    held = known(Told(*TARGET, "open", due_in=-1.0, is_awaited=False), Told(*OTHER, "open", is_awaited=False))

    assert (held.to_probe(200.0), held.next_moment(100.0)) == ([], inf)
    assert held.is_down(TARGET)

    rows: Any = [Told(*TARGET, "open", due_in=-1.0)]
    held.renew(rows, asked_at=200.0, now=200.0)
    assert held.to_probe(200.0) == [TARGET]


def test_a_probe_that_has_lost_its_claim_is_followed_by_another_one() -> None:
    held = known(Told(*TARGET, "half_open", is_probed=True), Told(*OTHER, "half_open"))

    assert held.to_probe(100.0) == [OTHER]
    assert held.is_down(TARGET)


def test_a_target_that_has_closed_has_a_place_more_each_second_until_it_has_all() -> None:
    held = known(Told(*TARGET, "closed", closed_for=1.5))

    assert not held.is_down(TARGET)
    assert held.starting(100.0) == [(TARGET, 2)]
    assert held.next_moment(100.0) == 100.5
    assert held.starting(100.5) == [(TARGET, 4)]
    assert held.starting(200.0) == [(TARGET, 8)]


def test_what_a_daemon_has_opened_itself_outlasts_rows_that_were_asked_for_before() -> None:
    held = known()

    held.note_opening(TARGET, 150.0)
    # Its row is being written, and may not be seen by what is asked for meanwhile.
    assert held.renew([Told(None, "", "")], asked_at=109.0, now=109.5) == []  # type: ignore[list-item]
    held.note_opened(TARGET, 110.0)
    assert held.renew([Told(None, "", "")], asked_at=109.0, now=111.0) == []  # type: ignore[list-item]
    assert held.is_down(TARGET)

    assert held.renew([Told(None, "", "")], asked_at=112.0, now=113.0) == [TARGET]  # type: ignore[list-item]
    assert not held.is_down(TARGET)
    assert held.next_moment(113.0) == inf


def test_a_target_that_closed_is_told_of_once() -> None:
    held = known(Told(*TARGET, "open"))

    closed: Any = Told(*TARGET, "closed")
    assert held.renew([closed], asked_at=101.0, now=101.0) == [TARGET]
    assert held.renew([closed], asked_at=102.0, now=102.0) == []
