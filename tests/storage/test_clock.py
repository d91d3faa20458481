"""The clock: PostgreSQL's time, whatever happens to the machine's."""

from datetime import UTC, datetime, timedelta

import pytest
import trio
from attrs import define

from cueapi.domain.errors import Refusal
from cueapi.storage.clock import Clock, MachineClocks
from cueapi.storage.database import Database

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@define
class Machine:
    """A machine whose clocks stand until they are moved."""

    seconds: float = 0.0
    set_ahead: float = 0.0

    @property
    def clock(self) -> Clock:
        """A clock on it. Its wall clock shows noon, and what it was set ahead."""
        return Clock(MachineClocks(lambda: NOON.timestamp() + self.seconds + self.set_ahead, lambda: self.seconds))


def after(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def test_until_it_is_measured_it_is_the_machine_s() -> None:
    assert Machine(seconds=3, set_ahead=60).clock.now() == after(63)


def test_a_machine_that_is_off_is_corrected_and_says_so_once() -> None:
    clock = Machine(set_ahead=7200).clock

    said = [clock.measure(NOON, 0.0), clock.measure(NOON, 0.0)]

    assert (clock.now(), clock.offset) == (NOON, timedelta(seconds=-7200))
    assert clock.timestamp() == NOON.timestamp()
    assert said == [True, False]


@pytest.mark.parametrize("by", [7200.0, -7200.0], ids=["ahead", "back"])
def test_setting_the_machine_s_clock_changes_nothing(by: float) -> None:
    machine = Machine()
    clock = machine.clock
    clock.measure(NOON, 0.0)

    machine.seconds, machine.set_ahead = 10.0, by

    assert clock.now() == after(10)
    assert clock.jumps == 0


@pytest.mark.parametrize("by", [600.0, -600.0], ids=["ahead", "back"])
def test_a_jump_of_postgresql_s_clock_is_counted(by: float) -> None:
    machine = Machine()
    clock = machine.clock
    clock.measure(NOON, 0.0)
    machine.seconds = 10.0

    clock.measure(after(10 + by), 10.0)

    assert (clock.now(), clock.jumps) == (after(10 + by), 1)


def test_a_slow_answer_is_no_jump_and_makes_nothing_worse() -> None:
    machine = Machine()
    clock = machine.clock
    clock.measure(NOON, 0.0)
    machine.seconds = 40.0

    # Asked 30 s ago; the answer was written 20 s ago.
    clock.measure(after(20), 10.0)

    assert (clock.now(), clock.jumps) == (after(40), 0)


async def test_postgresql_is_asked_where_the_machine_s_clock_was_set_and_only_then(database: Database) -> None:
    machine = Machine()
    clock = machine.clock
    with trio.fail_after(10):
        begun = await clock.ask(database)
        machine.seconds = 1000.0
        unasked = await clock.present(database)
        machine.set_ahead = 7200.0
        asked = await clock.present(database)

    assert unasked == begun + timedelta(seconds=1000)
    assert begun <= asked < begun + timedelta(seconds=20)


async def test_nothing_is_refused_before_postgresql_was_asked(database: Database) -> None:
    machine = Machine()
    clock = machine.clock
    with trio.fail_after(10):
        told = await clock.ask(database)

    def not_in_years(now: datetime) -> datetime:
        if now - told > timedelta(days=1000):
            raise Refusal("invalid_schedule", "too late")
        return now

    machine.seconds = timedelta(days=2000).total_seconds()
    with trio.fail_after(10):
        decided = await clock.decide(database, not_in_years)

    assert told <= decided < told + timedelta(seconds=20)
