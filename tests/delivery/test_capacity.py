"""How many deliveries are in flight in all, by host and by account."""

from uuid import uuid4

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from cueapi.delivery.capacity import Capacity
from cueapi.domain.attempt import Delivery
from tests.delivery.deliveries import delivery_of

HOSTS, USERS = ("a:80", "b:80"), (1, 2, 3)


def to(host: str = "a:80", user: int = 1) -> Delivery:
    return evolve(delivery_of(), claim=uuid4(), host=host, user_id=user)


def test_a_delivery_holds_its_places_until_it_is_released() -> None:
    places, delivery = Capacity(8, 3), to()

    before = places.headroom()
    places.take(delivery)
    during = places.headroom()
    places.release(delivery)

    assert (before.places, during.places, places.headroom().places) == (8, 7, 8)
    assert (during.hosts, during.users) == ({"a:80": 1}, {1: 1})
    assert (places.headroom().hosts, places.headroom().users, places.held()) == ({}, {}, [])


def test_who_is_released_twice_frees_one_place() -> None:
    places, delivery = Capacity(8, 3), to()
    places.take(to())
    places.take(delivery)

    places.release(delivery)
    places.release(delivery)

    assert places.taken == 1


@pytest.mark.parametrize(
    ("deliveries", "full"),
    [([], False), ([to(user=1), to(user=2)], True), ([to("a:80"), to("b:80"), to("c:80")], True), ([to()], False)],
    ids=["nothing", "a host", "an account", "neither"],
)
def test_it_is_known_whether_a_host_or_an_account_is_full(deliveries: list[Delivery], *, full: bool) -> None:
    places = Capacity(6, 2)
    for delivery in deliveries:
        places.take(delivery)

    assert places.any_full() is full


def test_who_wants_a_place_is_told_of_the_next_that_comes_free_and_of_no_other() -> None:
    told: list[int] = []
    places = Capacity(8, 3, on_freed=lambda: told.append(places.taken))
    deliveries = [to() for _ in range(3)]
    for delivery in deliveries:
        places.take(delivery)

    places.release(deliveries[0])
    places.request_wakeup()
    places.release(deliveries[1])
    places.release(deliveries[2])

    assert told == [1]


def test_who_wants_a_place_is_told_once_when_half_of_those_that_were_taken_since_are_free() -> None:
    told: list[int] = []
    places = Capacity(8, 8, on_half=lambda: told.append(places.taken))
    before, later = to(), [to() for _ in range(6)]

    places.take(before)
    places.request_wakeup()
    for delivery in later:
        places.take(delivery)
    for delivery in (before, *later):
        places.release(delivery)

    assert told == [3]


async def test_an_attempt_is_interrupted_whether_it_has_begun_or_not() -> None:
    places, begun, waiting = Capacity(8, 3), to(), to()
    for delivery in (begun, waiting):
        places.take(delivery)

    places.interrupt([waiting.claim])

    assert [places.scope(one).cancel_called for one in (begun, waiting)] == [False, True]
    assert places.taken == 2


@given(st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(USERS), st.booleans()), max_size=40))
def test_the_counts_are_those_of_what_is_held_whatever_comes_and_goes(moves: list[tuple[str, int, bool]]) -> None:
    places, held = Capacity(64, 64), list[Delivery]()

    for host, user, comes in moves:
        if comes or not held:
            held.append(to(host, user))
            places.take(held[-1])
        else:
            places.release(held.pop(0))

    headroom = places.headroom()
    assert places.held() == held
    assert headroom.places == 64 - len(held)
    assert headroom.hosts == {host: n for host in HOSTS if (n := sum(one.host == host for one in held))}
    assert headroom.users == {user: n for user in USERS if (n := sum(one.user_id == user for one in held))}


async def test_what_may_be_claimed_ahead_counts_as_free_slots_of_its_host() -> None:
    places, delivery = Capacity(8, 2), to()
    places.take(delivery)
    for _ in range(3):
        assert await places.slots.acquire("a:80")
        places.slots.release("a:80")

    assert places.headroom().hosts == {"a:80": -1}
    assert not places.any_full()
