"""The pool: what makes one attempt crash ends that attempt, and nothing that is under way beside it."""

from uuid import uuid4

import trio
import trio.testing
from attrs import evolve
from structlog.testing import capture_logs

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.host_slots import PATIENCE
from cueapi.delivery.pool import DispatchPool
from cueapi.delivery.webhook import Webhook
from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import SHORTAGE_PAUSE, Status, Transition, claim_lost
from cueapi.domain.target import Rules
from cueapi.domain.verification import VerificationRules
from cueapi.net.dns import Resolver
from supervisor import Channel
from tests.delivery.deliveries import delivery_of
from tests.delivery.siblings import alive
from tests.receiver import open_receiver
from tests.scarcity import no_file_left


def delivery_to(url: str, verification: str = "none") -> Delivery:
    return evolve(
        delivery_of(), execution_id=uuid4(), claim=uuid4(), url=url, verification=VerificationRules(verification)
    )


async def _confirm(_delivery: Delivery) -> None:
    """All claims are fresh."""


async def test_an_attempt_that_a_bug_crashes_fails_alone_and_frees_its_slot() -> None:
    deliveries, results = Channel[Delivery]("deliveries", 8), Channel[Transition]("results", 8)
    places = Capacity(8, 8)
    with trio.fail_after(20), capture_logs() as lines:
        async with open_receiver({"/slow": [0.5], "/done": [(200, b'{"success": true}')]}) as receiver:
            bad = delivery_to(receiver.url("/done"), verification="of an unknown kind")
            good = [delivery_to(receiver.url("/slow")) for _ in range(3)]
            with Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
                pool = DispatchPool(deliveries, results, places, webhook, _confirm, 8, trio.Event())
                with deliveries.sender() as sending, results.receiver() as told:
                    async with alive(pool.run):
                        for delivery in (*good, bad):
                            sending.send_nowait(delivery)
                            places.take(delivery)
                        steps = {step.fence.execution_id: step for step in [await told.receive() for _ in range(4)]}

    fell = steps.pop(bad.execution_id)
    assert (fell.status, fell.error) == (
        Status.RETRYING,
        "The attempt could not be made or evaluated: an error of the server's own (ValueError).",
    )
    assert {step.status for step in steps.values()} == {Status.SUCCESS}
    assert [(line["event"], line["execution_id"]) for line in lines] == [("attempt_crashed", str(bad.execution_id))]
    assert len(receiver.requests) == 4
    assert places.taken == 0


async def test_an_attempt_that_we_are_too_short_for_is_released_for_a_while_and_told_once() -> None:
    deliveries, results = Channel[Delivery]("deliveries", 8), Channel[Transition]("results", 8)
    places = Capacity(8, 8)
    with trio.fail_after(20), capture_logs() as lines:
        with Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
            pool = DispatchPool(deliveries, results, places, webhook, _confirm, 8, trio.Event())
            with deliveries.sender() as sending, results.receiver() as told, no_file_left():
                async with alive(pool.run):
                    for _ in range(3):
                        delivery = delivery_to("http://127.0.0.1:9/")
                        sending.send_nowait(delivery)
                        places.take(delivery)
                    steps = [await told.receive() for _ in range(3)]

    assert [(step.status, step.released, step.pause) for step in steps] == [(Status.PENDING, True, SHORTAGE_PAUSE)] * 3
    assert [(line["event"], line["reason"]) for line in lines] == [("daemon_ran_short", "too many open files")]


async def test_an_attempt_that_is_interrupted_is_released_as_the_same_attempt_and_frees_its_slot() -> None:
    deliveries, results = Channel[Delivery]("deliveries", 8), Channel[Transition]("results", 8)
    places = Capacity(8, 8)
    with trio.fail_after(20), Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
        async with open_receiver(["hang"]) as receiver:
            pool = DispatchPool(deliveries, results, places, webhook, _confirm, 8, trio.Event())
            with deliveries.sender() as sending, results.receiver() as told:
                async with alive(pool.run):
                    delivery = delivery_to(receiver.url())
                    sending.send_nowait(delivery)
                    places.take(delivery)
                    await receiver.wait_for(1)
                    places.interrupt([delivery.claim])
                    step = await told.receive()
                    await trio.testing.wait_all_tasks_blocked()

    assert step == claim_lost(delivery.fence, delivery.retry, lost_claims=0)
    assert places.taken == 0


async def test_what_is_claimed_ahead_of_its_host_waits_for_a_slot_and_a_drain_gives_it_back() -> None:
    deliveries, results = Channel[Delivery]("deliveries", 8), Channel[Transition]("results", 8)
    places, stopping = Capacity(8, 2), trio.Event()
    with trio.fail_after(20), Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
        answered = trio.Event()
        async with open_receiver([answered]) as receiver:
            pool = DispatchPool(deliveries, results, places, webhook, _confirm, 8, stopping)
            with deliveries.sender() as sending, results.receiver() as told:
                async with alive(pool.run):
                    for _ in range(5):
                        delivery = evolve(delivery_to(receiver.url()), host="the host")
                        sending.send_nowait(delivery)
                        places.take(delivery)
                    await receiver.wait_for(2)
                    await trio.testing.wait_all_tasks_blocked()
                    sent_before = len(receiver.requests)
                    stopping.set()
                    answered.set()
                    steps = [await told.receive() for _ in range(5)]

    assert sent_before == len(receiver.requests) == 2
    assert sorted(step.released for step in steps) == [False, False, True, True, True]


async def test_a_host_gets_no_more_at_once_than_its_slots_however_many_were_claimed_ahead() -> None:
    deliveries, results = Channel[Delivery]("deliveries", 40), Channel[Transition]("results", 40)
    places = Capacity(40, 3)
    with trio.fail_after(20), Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
        async with open_receiver([0.02] * 40) as receiver:
            pool = DispatchPool(deliveries, results, places, webhook, _confirm, 40, trio.Event())
            with deliveries.sender() as sending, results.receiver() as told:
                async with alive(pool.run):
                    for _ in range(30):
                        delivery = evolve(delivery_to(receiver.url()), host="the host")
                        sending.send_nowait(delivery)
                        places.take(delivery)
                    steps = [await told.receive() for _ in range(30)]

    assert {step.status for step in steps} == {Status.SUCCESS}
    # A connection is used again as soon as its request has ended.
    assert len({request.connection for request in receiver.requests}) == 3


async def test_what_finds_no_slot_of_its_host_is_given_back_soon_and_keeps_its_place() -> None:
    deliveries, results = Channel[Delivery]("deliveries", 8), Channel[Transition]("results", 8)
    places = Capacity(8, 1)
    with trio.fail_after(20):
        async with open_receiver(["hang"]) as receiver:
            both = [delivery_to(receiver.url()) for _ in range(2)]
            with Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
                pool = DispatchPool(deliveries, results, places, webhook, _confirm, 8, trio.Event())
                with deliveries.sender() as sending, results.receiver() as told:
                    async with alive(pool.run):
                        for delivery in both:
                            sending.send_nowait(delivery)
                            places.take(delivery)
                        begun = trio.current_time()
                        step = await told.receive()
                        waited = trio.current_time() - begun

    assert (step.released, step.pause) == (True, None)
    assert waited >= PATIENCE
    assert len(receiver.requests) == 1
