"""Who may read /metrics."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest
import trio
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from pydantic import SecretStr
from quart_trio import QuartTrio

from cueapi.api.metrics import MetricsRoute
from cueapi.metrics import Metrics
from cueapi.settings import Settings
from tests.conftest import running
from tests.process import HANG

TOKEN = "a token of the tests"

WRONG = {
    "no header": {},
    "another token": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "a longer one": {"Authorization": f"Bearer {TOKEN}x"},
    "another scheme": {"Authorization": f"Basic {TOKEN}"},
    "no ASCII": {"Authorization": "Bearer t\u00f6ken".encode("latin-1")},
}


@pytest.mark.parametrize("env", ["development", "production"])
async def test_a_token_opens_metrics_and_nothing_else_does(settings: Settings, env: str) -> None:
    changes = {"env": env, "metrics_token": SecretStr(TOKEN)}
    with trio.fail_after(20):
        async with running(settings.model_copy(update=changes)) as daemon:
            opened = await daemon.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
            refused = [await daemon.client.get("/metrics", headers=headers) for headers in WRONG.values()]
            key = await (await daemon.api.register()).ask("GET", "/metrics")

    assert opened.status_code == 200
    assert {told(one) for one in (*refused, key)} == {(401, "invalid_metrics_token")}


@pytest.mark.parametrize(("env", "status"), [("development", 200), ("production", 403)])
async def test_without_a_token_metrics_are_open_in_development_and_closed_in_production(
    settings: Settings, env: str, status: int
) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"env": env})) as daemon:
            answered = await daemon.client.get("/metrics")

    assert answered.status_code == status
    if status == 403:
        assert told(answered) == (403, "metrics_closed")
        assert "METRICS_TOKEN" in answered.json()["error"]["message"]


async def test_what_strangers_are_refused_counts_under_no_route(settings: Settings) -> None:
    with trio.fail_after(HANG):
        async with running(settings) as daemon:
            for path in ("/v1/cues", "/v1/usage", "/v1/report/x", "/nowhere", "/v1/auth/register"):
                for method in ("GET", "POST", "DELETE"):
                    await daemon.api.client.request(method, path, content=b"[")
            api = await daemon.api.register()
            await api.ask("GET", "/v1/cues/cue_000000000000")
            text = (await api.ask("GET", "/metrics")).text

    series = {
        (sample.labels["route"], sample.labels["status"])
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "cueapi_http_request_duration_seconds_count"
    }
    assert {route for route, status in series if status.startswith("4")} == {"none", "/v1/cues/<cue_id>"}
    assert {("none", "401"), ("none", "404"), ("none", "405"), ("/v1/cues/<cue_id>", "404")} <= series


async def test_the_text_is_made_beside_the_event_loop(settings: Settings) -> None:
    made_in = []

    class Noted(Collector):
        def collect(self) -> Iterable[Metric]:
            made_in.append(threading.get_ident())
            return []

    metrics = Metrics()
    metrics.registry.register(Noted())
    route = MetricsRoute(metrics, trio.lowlevel.checkpoint, None, closed=False)
    async with QuartTrio(__name__).test_request_context("/metrics"):
        made_in.clear()
        await route.show()

    assert [one == threading.get_ident() for one in made_in] == [False]


def told(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
