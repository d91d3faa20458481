"""A daemon whose machine's clock is off, or is set while it runs: nothing outside shows it."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trio
from attrs import define
from standardwebhooks.webhooks import Webhook

from cueapi.settings import Settings
from cueapi.storage.clock import Clock, MachineClocks
from tests.api.signing_in import sign_in
from tests.conftest import Api, cue, running
from tests.moments import moment_of, post_soon
from tests.process import HANG
from tests.receiver import open_receiver

HOURS = pytest.mark.parametrize("hours", [-2, 2], ids=["two hours behind", "two hours ahead"])


@define
class Machine:
    """This machine, with a wall clock that can be set."""

    hours: float = 0.0

    @property
    def clock(self) -> Clock:
        """A clock that runs on it."""
        return Clock(MachineClocks(lambda: time.time() + self.hours * 3600))


def soon(**duration: float) -> datetime:
    """A moment to come."""
    return datetime.now(UTC) + timedelta(**duration)


@HOURS
async def test_a_signature_is_fresh_and_a_retry_after_date_is_kept(settings: Settings, hours: float) -> None:
    until = soon(minutes=30).replace(microsecond=0)
    busy = (503, b"", {"Retry-After": format_datetime(until, usegmt=True)})
    with trio.fail_after(30):
        async with running(settings, clock=Machine(hours).clock) as daemon, open_receiver([busy]) as receiver:
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(receiver.url()))
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            shown = await api.execution(fired["id"], "retrying")
            secret = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]

    (request,) = receiver.requests
    assert Webhook(secret).verify(request.body, dict(request.headers))
    assert abs(int(request.header("X-CueAPI-Timestamp") or 0) - time.time()) < 60
    assert abs(datetime.fromisoformat(shown["next_retry"]) - until) < timedelta(seconds=20)


@HOURS
async def test_an_alert_is_signed_with_a_fresh_timestamp(settings: Settings, hours: float) -> None:
    with trio.fail_after(30):
        async with (
            running(settings, clock=Machine(hours).clock) as daemon,
            open_receiver({"/work": [500], "/alerts": [200]}) as receiver,
        ):
            api = await daemon.api.register()
            await api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url("/alerts")})
            made = await api.post("/v1/cues", cue(receiver.url("/work"), retry={"max_attempts": 1}))
            await api.post(f"/v1/cues/{made['id']}/fire")
            _, alert = await receiver.wait_for(2)

    assert alert.path == "/alerts"
    assert abs(int(alert.header("X-CueAPI-Timestamp") or 0) - time.time()) < 60


async def refusals(api: Api) -> list[str | None]:
    """What is said to a time two minutes ahead, and to one an hour past."""
    path = f"/v1/cues/{(await api.post('/v1/cues', cue()))['id']}/fire"
    said: list[str | None] = []
    for at in (soon(minutes=2), soon(hours=-1)):
        for asked, body in (
            ("/v1/cues", cue(schedule={"type": "once", "at": at.isoformat()})),
            (path, {"send_at": at.isoformat()}),
        ):
            answer = await api.ask("POST", asked, body)
            said.append(None if answer.is_success else answer.json()["error"]["code"])
    return said


@HOURS
async def test_a_time_is_judged_by_postgresql_s_clock_also_right_after_the_machine_s_was_set(
    settings: Settings, hours: float
) -> None:
    expected = [None, None, "invalid_schedule", "invalid_schedule"]
    machine = Machine(hours)
    with trio.fail_after(30):
        async with running(settings, clock=machine.clock) as daemon:
            api = await daemon.api.register()
            first = await refusals(api)
            machine.hours = -hours
            second = await refusals(api)
            at = soon(minutes=2).replace(second=0, microsecond=0)
            made = await api.post("/v1/cues", cue(schedule={"type": "recurring", "cron": f"{at.minute} * * * *"}))
            times = (await api.get(f"/v1/cues/{made['id']}/upcoming"))["upcoming"]

    assert (first, second) == (expected, expected)
    assert datetime.fromisoformat(made["next_run"]) == at
    assert times[0] == made["next_run"]


@HOURS
async def test_a_session_serves_for_a_day_by_postgresql_s_clock(
    settings: Settings, hours: float, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(hours)
    with trio.fail_after(30):
        async with running(settings, clock=machine.clock) as daemon:
            got = await sign_in(daemon, capsys, "you@example.com")
            opened = await daemon.api.post("/v1/auth/session", {"token": got["session_token"]})
            machine.hours = 100 * hours
            bearer = {"Authorization": f"Bearer {opened['session_token']}"}
            answer = await daemon.client.get("/v1/auth/me", headers=bearer)
            health = (await daemon.client.get("/health")).json()

    assert answer.status_code == 200
    assert abs(int(answer.headers["X-RateLimit-Reset"]) - time.time()) < 120
    assert abs(datetime.fromisoformat(health["timestamp"]) - soon()) < timedelta(seconds=20)


@HOURS
async def test_a_cue_fires_on_time_after_the_machine_s_clock_was_set(settings: Settings, hours: float) -> None:
    machine = Machine()
    with trio.fail_after(HANG):
        async with running(settings, clock=machine.clock) as daemon, open_receiver() as receiver:
            api = await daemon.api.register()
            machine.hours = hours
            answer, body = await post_soon(api, 1.5, receiver.url())
            (request,) = await receiver.wait_for(1)

    at = moment_of(body)
    assert answer.status_code == 201
    assert at.timestamp() <= request.at + 0.01
    # Well before a poll that nothing has woken.
    assert request.at < at.timestamp() + settings.poller_interval_seconds / 2
