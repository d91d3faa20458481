import time
from importlib.metadata import version
from types import NoneType

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from cueapi.settings import Settings
from cueapi.storage.database import Database
from cueapi.storage.health import counts
from tests.api.work import MOMENT, NUMBER, TEXT_OR_NULL, claimed, fired, report, wrong_fields
from tests.conftest import Api, RunningDaemon, cue, running
from tests.delivery.siblings import until
from tests.receiver import open_receiver
from tests.storage.own_postgres import own_postgres
from tests.storage.rows import add_cue, add_execution, add_user, ago

HEALTH = {"status": str, "version": str, "timestamp": str, "services": dict, "poller": dict, "workers": dict,
          "queue": dict, "siblings": dict}  # fmt: skip
SERVICES = {"postgres": str, "redis": str, "poller": str, "worker": str}
POLLER = {"last_run": TEXT_OR_NULL, "seconds_ago": (*NUMBER, NoneType), "cues_last_cycle": int,
          "cycle_duration_ms": NUMBER}  # fmt: skip
QUEUE = {"pending_outbox": int, "stale_executions": int, "pending_retries": int, "pending_worker_claims": int,
         "oldest_due_seconds": NUMBER}  # fmt: skip
SIBLING = {"state": str, "restarts": int, "since": str}


async def status_of(api: Api) -> tuple[int, str]:
    """The readiness, as an HTTP status and a word."""
    response = await api.ask("GET", "/status")
    return response.status_code, response.json()["status"]


async def ready_again(api: Api) -> None:
    """Return when the daemon is healthy."""
    while await status_of(api) != (200, "healthy") or (await api.get("/health"))["status"] != "healthy":
        await trio.sleep(0.1)


async def test_health_tells_every_field_to_anybody(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        await ready_again(daemon.api)
        # It is up before it has polled.
        while (health := await daemon.api.get("/health"))["poller"]["last_run"] is None:
            await trio.sleep(0.01)

    assert wrong_fields(health, HEALTH) == {}
    assert wrong_fields(health["services"], SERVICES) == {}
    assert wrong_fields(health["poller"], POLLER) == {}
    assert wrong_fields(health["workers"], {"active_count": int}) == {}
    assert wrong_fields(health["queue"], QUEUE) == {}
    assert {name for name, one in health["siblings"].items() if wrong_fields(one, SIBLING)} == set()
    assert {"poller", "pool", "dispatcher", "recorder", "api"} <= set(health["siblings"])
    assert MOMENT.fullmatch(health["timestamp"])
    assert MOMENT.fullmatch(health["poller"]["last_run"])
    assert health["status"] == "healthy"
    assert health["queue"] == dict.fromkeys(QUEUE, 0)
    assert (health["services"]["postgres"], health["services"]["redis"]) == ("ok", "none")
    assert health["services"]["worker"] == "none"


async def test_health_counts_what_waits(owner: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([500]) as receiver:
            webhook = await owner.post("/v1/cues", cue(receiver.url(), retry={"backoff_minutes": [60]}))
            one = (await owner.post(f"/v1/cues/{webhook['id']}/fire"))["id"]
            await owner.execution(one, "retrying")
            await fired(owner)
            await fired(owner)
            await claimed(owner)
            await owner.post("/v1/worker/heartbeat", {"worker_id": "w1"})
            await owner.post("/v1/worker/heartbeat", {"worker_id": "w2"})
            health = await owner.get("/health")

    assert (health["workers"]["active_count"], health["services"]["worker"]) == (2, "ok")
    assert health["queue"] == {
        "pending_outbox": 1,
        "stale_executions": 0,
        "pending_retries": 1,
        "pending_worker_claims": 2,
        "oldest_due_seconds": 0.0,
    }


@pytest.mark.parametrize(
    ("waited", "status"), [(3, "healthy"), (36, "degraded")], ids=["less than a poll", "longer than a poll"]
)
async def test_health_is_degraded_while_a_due_delivery_has_waited_for_longer_than_a_poll(
    daemon: RunningDaemon, database: Database, waited: int, status: str
) -> None:
    # It claims nothing: what has begun to claim has a connection, and none begins any more.
    daemon.resources.identity.lock_held = False
    with trio.fail_after(20):
        await until(lambda: not daemon.resources.engine.pool.in_use)
    await add_execution(database, await add_cue(database, await add_user(database)), ready_at=ago(seconds=waited))

    with trio.fail_after(20):
        health = await daemon.api.get("/health")

    assert health["status"] == status
    assert waited <= health["queue"]["oldest_due_seconds"] < waited + 20


async def test_a_daemon_that_is_up_is_ready(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        response = await daemon.api.ask("GET", "/status")

    assert (response.status_code, response.json()) == (200, {"status": "healthy"})


async def test_a_daemon_that_drains_is_down_but_takes_reports_to_the_last(daemon: RunningDaemon) -> None:
    with trio.fail_after(30):
        api = await daemon.api.register()
        done = trio.Event()
        async with open_receiver([done]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            sent = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            work = await claimed(api)
            await receiver.wait_for(1)
            daemon.stop("deploy")
            down = await api.ask("GET", "/status")
            health = await api.ask("GET", "/health")
            answered = await report(api, sent, success=True)
            worked = await report(api, work, success=True)
            done.set()

    assert (down.status_code, down.json()) == (503, {"status": "down", "reason": "the daemon is draining"})
    assert health.status_code == 200
    assert answered["outcome_state"] == worked["outcome_state"] == "reported_success"


async def test_readiness_and_health_follow_postgresql_down_and_up(settings: Settings) -> None:
    with trio.fail_after(60), own_postgres() as server:
        async with running(settings.model_copy(update={"database_url": SecretStr(server.dsn)})) as daemon:
            await ready_again(daemon.api)
            await trio.to_thread.run_sync(server.stop)
            down = await daemon.api.ask("GET", "/status")
            health = await daemon.api.ask("GET", "/health")
            metrics = await daemon.api.ask("GET", "/metrics")
            await trio.to_thread.run_sync(server.start)
            await ready_again(daemon.api)

    assert down.status_code == 503
    assert wrong_fields(down.json(), {"status": str, "reason": str}) == {}
    assert down.json()["status"] == "down"
    assert "PostgreSQL" in down.json()["reason"]
    assert health.status_code == 200
    assert wrong_fields(health.json(), HEALTH) == {}
    assert (health.json()["services"]["postgres"], health.json()["services"]["worker"]) == ("down", "none")
    assert metrics.status_code == 200


async def test_metrics_are_prometheus_text_without_ids(owner: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([200]) as receiver:
            made = await owner.post("/v1/cues", cue(receiver.url()))
            one = (await owner.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await owner.execution(one)
            response = await owner.ask("GET", "/metrics")

    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    (delivered,) = [
        sample.value
        for sample in families["cueapi_attempts_settled"].samples
        if sample.name == "cueapi_attempts_settled_total" and sample.labels == {"as": "delivered"}
    ]
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    assert delivered == 1
    assert families["cueapi_http_request_duration_seconds"].type == "histogram"
    assert families["cueapi_delivery_lag_seconds"].type == "histogram"
    assert {sample.labels["sibling"] for sample in families["cueapi_sibling_state"].samples} >= {"poller", "pool"}
    assert made["id"] not in response.text
    assert one not in response.text


async def metrics_of(api: Api) -> dict[str, float]:
    """Each sample that is not 0: its name without our prefix, and the values of its labels."""
    families = text_string_to_metric_families((await api.ask("GET", "/metrics")).text)
    return {
        " ".join([sample.name.removeprefix("cueapi_"), *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
        if sample.value
    }


async def test_metrics_tell_alerts_notifications_and_outcomes(settings: Settings) -> None:
    with trio.fail_after(30):
        async with open_receiver({"/alerts": [204], "/work": [202]}) as receiver, running(settings) as daemon:
            api = await daemon.api.register()
            await api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url("/alerts")})
            webhook = await api.post("/v1/cues", cue(receiver.url("/work")))
            one = (await api.post(f"/v1/cues/{webhook['id']}/fire"))["id"]
            await api.execution(one)
            await report(api, one, success=False)
            await report(api, await claimed(api, retry={"max_attempts": 1}), success=False)
            while (told := await metrics_of(api)).get("notification_attempts_total sent alert_webhook") != 2:
                await trio.sleep(0.02)

    assert told["alerts_raised_total execution_failed"] == 2
    assert told["outcomes_recorded_total reported_failure"] == 2
    assert told["attempts_settled_total delivered"] == 1
    assert told["attempts_settled_total reported_failure"] == 1
    assert (told["executions_ended_total success"], told["executions_ended_total failed"]) == (1, 1)
    assert [name for name in told if "build_info" in name] == [f"build_info {version('cueapi-daemon')}"]
    assert abs(told["last_poll_timestamp_seconds"] - time.time()) < 60


async def test_metrics_tell_what_is_due_and_waits_how_long_and_for_whom(settings: Settings, database: Database) -> None:
    user = await add_user(database)
    worker, webhook = [await add_cue(database, user, transport=kind) for kind in ("worker", "webhook")]
    for cue_id in (worker, worker, webhook):
        await add_execution(database, cue_id, ready_at=ago(minutes=10), created_at=ago(minutes=10))
    await add_execution(database, worker, ready_at=ago(hours=-1))
    await database.execute("insert into workers (user_id, worker_id) values ($1, 'w')", user)
    await add_execution(database, webhook, ready_at=ago(hours=-1))
    row = await counts(database)

    with trio.fail_after(20):
        async with running(settings) as daemon:
            told = await metrics_of(daemon.api)

    assert row is not None
    assert (row.ready_deliveries, row.pending_outbox, row.pending_worker_claims) == (1, 2, 2)
    assert 599 < row.oldest_delivery < 700
    assert 599 < row.oldest_work < 700
    assert (told["backlog work"], told["workers_alive"]) == (2, 1)
    assert 599 < told["backlog_oldest_seconds work"] < 700


async def test_an_alert_of_the_month_s_limit_counts_once_a_day(settings: Settings, database: Database) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"monthly_execution_limit": 1})) as daemon:
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue())
            await database.execute(
                "insert into usage (user_id, month, executions)"
                " select id, date_trunc('month', now() at time zone 'utc')::date, 1 from users"
            )
            await api.post(f"/v1/cues/{made['id']}/fire")
            before = await metrics_of(api)
            await database.execute("update users set grace_until = now()")
            for _ in range(3):
                await api.post(f"/v1/cues/{made['id']}/fire")
            after = await metrics_of(api)

    assert "alerts_raised_total execution_failed" not in before
    assert after["alerts_raised_total execution_failed"] == 1


async def test_looking_at_the_daemon_counts_against_no_limit(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"rate_limit_per_minute": 1})) as daemon:
            paths = ["/health", "/status", "/metrics"] * 2
            answered = [await daemon.api.ask("GET", path) for path in paths]

    assert [response.status_code for response in answered] == [200] * 6
    assert not any("X-RateLimit-Limit" in response.headers for response in answered)


async def test_what_the_server_is_and_allows_is_told_without_a_key(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings) as open_, running(settings.model_copy(update={"allow_register": False})) as closed:
            told = [await daemon.api.get("/v1/info") for daemon in (open_, closed)]

    info = told[0]
    assert (info["name"], info["version"], info["api_version"]) == ("CueAPI", version("cueapi-daemon"), "v1")
    assert [one["registration_open"] for one in told] == [True, False]
    assert info["limits"] == {"body_bytes": 1_048_576, "payload_bytes": 1_048_576}
    assert set(info) == {
        "name", "version", "api_version", "registration_open", "worker_evidence", "transports", "verification_modes",
        "limits",
    }  # fmt: skip
