"""For how long workers are waited for: virtual time, no database."""

import pytest
import trio
from trio.testing import MockClock

from cueapi.delivery.silence import LONGEST_ROUND, WorkerGrace


async def rounds(grace: WorkerGrace, seconds: float, *, jumps: int = 0) -> None:
    """Look every five seconds for so long."""
    for _ in range(int(seconds / 5)):
        await trio.sleep(5)
        grace.note(jumps)


async def test_workers_have_their_time_from_the_start_on(autojump_clock: MockClock) -> None:
    grace = WorkerGrace(180.0, 0)
    await rounds(grace, 175)
    before = grace.is_over()
    await rounds(grace, 5)

    assert (before, grace.is_over(), grace.renewed) == (False, True, False)


@pytest.mark.parametrize(
    ("pause", "jumps", "renewed"),
    [(5.0, 0, False), (LONGEST_ROUND, 0, False), (LONGEST_ROUND + 1, 0, True), (5.0, 1, True)],
    ids=["a round", "a long round", "a standstill", "a jump of the clock"],
)
async def test_they_have_it_again_after_a_standstill_of_ours_and_after_a_jump_of_the_clock(
    autojump_clock: MockClock, pause: float, jumps: int, *, renewed: bool
) -> None:
    grace = WorkerGrace(180.0, 0)
    await rounds(grace, 300)

    await trio.sleep(pause)
    grace.note(jumps)
    after = grace.is_over()
    await rounds(grace, 180, jumps=jumps)

    assert (after, grace.renewed, grace.is_over()) == (not renewed, renewed, True)
