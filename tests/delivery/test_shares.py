"""Who may hold how many slots: no account is starved, none is idle beside free slots that it may have."""

from collections import Counter
from uuid import uuid4

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from cueapi.delivery.shares import LONG_RUN, equal_share, kept, may_claim_up_to, most_of_one, to_interrupt
from cueapi.domain.attempt import Delivery
from tests.delivery.deliveries import delivery_of

NOW = 10_000.0
SIZES = st.integers(1, 300)


def held_by(users: list[int], ages: list[float] | None = None) -> list[Delivery]:
    """One delivery for each entry of *users*, under way for so many seconds."""
    given_ages = ages or [1.0 + number / 1000 for number in range(len(users))]
    return [
        evolve(delivery_of(), claim=uuid4(), user_id=user, claimed_at=NOW - age)
        for user, age in zip(users, given_ages, strict=True)
    ]


def claim_for(held: Counter[int], user: int, size: int, *, spare: bool) -> bool:
    """Give *user* a slot where it may have one."""
    free = size - held.total()
    accounts = sum(1 for count in held.values() if count)
    most = may_claim_up_to(size, free=free, accounts=accounts, spare=spare)
    if free > 0 and held[user] < most:
        held[user] += 1
        return True
    return False


@given(SIZES)
def test_an_account_that_is_alone_gets_half_of_all_slots(size: int) -> None:
    held = Counter[int]()
    while claim_for(held, 1, size, spare=True):
        pass

    assert held[1] == most_of_one(size) == max(size // 2, 1)


@given(SIZES, st.lists(st.tuples(st.integers(1, 400), st.booleans(), st.booleans()), max_size=200))
def test_whatever_comes_and_goes_an_account_that_holds_none_gets_a_free_slot_and_no_other_takes_the_kept_ones(
    size: int, moves: list[tuple[int, bool, bool]]
) -> None:
    held = Counter[int]()
    for user, comes, spare in moves:
        free, had = size - held.total(), held[user]
        if not comes:
            held[user] = max(had - 1, 0)
            continue
        got = claim_for(held, user, size, spare=spare)
        assert got or had > 0 or free == 0
        assert not got or had == 0 or free > kept(size)
        assert held[user] <= most_of_one(size)
        assert held.total() <= size


@given(SIZES, st.integers(1, 300), st.integers(0, 300))
def test_an_account_below_its_equal_share_may_claim_while_more_than_the_kept_slots_are_free(
    size: int, accounts: int, free: int
) -> None:
    share = equal_share(size, accounts)

    if kept(size) < free <= size:
        assert may_claim_up_to(size, free=free, accounts=accounts, spare=False) >= share
    assert share >= 1
    assert share * accounts <= max(size - kept(size), accounts)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.floats(0, 900)), min_size=1, max_size=60),
    st.integers(1, 30),
    st.integers(0, 20),
)
def test_only_what_an_account_holds_beyond_its_share_gives_way_before_it_has_run_for_a_minute(
    running: list[tuple[int, float]], waiting: int, unused: int
) -> None:
    held = held_by([user for user, _ in running], [age for _, age in running])
    size, before = len(held) + unused, Counter(user for user, _ in running)
    share = max(size // (len(before) + waiting), 1)

    chosen = to_interrupt(held, size=size, waiting=waiting, now=NOW)

    by_claim = {one.claim: one for one in held}
    taken = [by_claim[claim] for claim in chosen]
    young = Counter(one.user_id for one in taken if NOW - one.claimed_at < LONG_RUN)
    assert len(set(chosen)) == len(chosen) <= waiting
    assert all(before[user] - count >= share for user, count in young.items())


@given(st.lists(st.integers(1, 12), min_size=1, max_size=60), st.integers(1, 12))
def test_in_a_full_pool_each_account_that_waits_gets_a_slot_while_there_are_as_many_as_accounts(
    users: list[int], waiting: int
) -> None:
    chosen = to_interrupt(held_by(users), size=len(users), waiting=waiting, now=NOW)

    assert len(chosen) == waiting or len(set(users)) + waiting > len(users)


def test_the_account_that_holds_most_gives_way_with_what_it_began_last() -> None:
    held = held_by([1, 1, 1, 2, 2, 3], [90.0, 80.0, 70.0, 60.0, 50.0, 40.0])

    assert to_interrupt(held, size=6, waiting=1, now=NOW) == [held[2].claim]


def test_a_quarter_is_closed_to_attempts_that_have_run_for_a_minute() -> None:
    ages = [70.0, 69.0, 68.0, 67.0, 66.0, 65.0, 64.0, 63.0]
    all_long, young = held_by(list(range(8)), ages), held_by(list(range(8)), [*ages[:6], 2.0, 1.0])

    assert to_interrupt(all_long, size=8, waiting=5, now=NOW) == [one.claim for one in all_long[:2]]
    assert to_interrupt(young, size=8, waiting=5, now=NOW) == []
