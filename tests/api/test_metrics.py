"""Who may read /metrics."""

from typing import Any

import pytest
import trio
from pydantic import SecretStr

from cueapi.settings import Settings
from tests.conftest import running

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


def told(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
