"""Every exception of the SDK, as this server provokes it."""

from typing import Any

import trio
from attrs import evolve
from pydantic import SecretStr

from cueapi.settings import Settings
from tests.api.work import UNKNOWN, claimed
from tests.clients.sdk import Sdk
from tests.conftest import Api, cue, running
from tests.process import HANG
from tests.storage.own_postgres import own_postgres

WORKER = {"cron": "@daily", "transport": "worker"}
UNLISTED = "cue_000000000000"


def told(refusal: dict[str, Any]) -> tuple[str, int, str]:
    """An exception's class, its status and its code, which the body must have, too."""
    assert refusal["body"]["error"]["message"] == refusal["message"] != ""
    return refusal["exception"], refusal["status_code"], refusal["code"]


async def test_what_is_refused_raises_the_exception_of_its_kind(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        await api.post("/v1/cues", cue(name="taken"))
        reported = {"execution_id": await claimed(api), "success": True}
        await api.post(f"/v1/executions/{reported['execution_id']}/outcome", {"success": True})
        refusals = await sdk.refusals(
            api,
            ("cues.get", {"cue_id": UNLISTED}),
            ("cues.update", {"cue_id": UNLISTED, "name": "x"}),
            ("cues.pause", {"cue_id": UNLISTED}),
            ("cues.delete", {"cue_id": UNLISTED}),
            ("executions.get", {"execution_id": UNKNOWN}),
            ("cues.create", {"name": "a", "cron": "every morning", "transport": "worker"}),
            ("cues.create", {"name": "b", "at": "2001-01-01T00:00:00Z", "transport": "worker"}),
            ("cues.create", {"name": "c", "timezone": "Mars/Olympus_Mons", **WORKER}),
            ("cues.create", {"name": "d", "cron": "@daily", "callback": "http://10.0.0.1/"}),
            ("cues.create", {"name": "", **WORKER}),
            ("executions.list", {"status": "lost"}),
            ("cues.create", {"name": "taken", **WORKER}),
            ("executions.report_outcome", reported),
        )

    assert [told(refusal) for refusal in refusals] == [
        ("CueNotFoundError", 404, "cue_not_found"),
        ("CueNotFoundError", 404, "cue_not_found"),
        ("CueNotFoundError", 404, "cue_not_found"),
        ("CueNotFoundError", 404, "cue_not_found"),
        ("CueNotFoundError", 404, "execution_not_found"),
        ("InvalidScheduleError", 400, "invalid_schedule"),
        ("InvalidScheduleError", 400, "invalid_schedule"),
        ("InvalidScheduleError", 422, "invalid_timezone"),
        ("InvalidScheduleError", 400, "invalid_callback_url"),
        ("InvalidScheduleError", 422, "validation_error"),
        ("InvalidScheduleError", 400, "invalid_filter"),
        ("CueAPIError", 409, "duplicate_cue_name"),
        ("CueAPIError", 409, "outcome_already_recorded"),
    ]


async def test_a_wrong_key_and_a_rotated_one_are_authentication_errors(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        (wrong,) = await sdk.refusals(evolve(api, key="cue_sk_" + "0" * 32), ("cues.list", {}))
        await api.post("/v1/auth/key/regenerate", X_Confirm_Destructive="true")
        (rotated,) = await sdk.refusals(api, ("cues.list", {}))

    assert told(wrong) == ("AuthenticationError", 401, "invalid_api_key")
    assert told(rotated) == ("AuthenticationError", 401, "key_rotated")


async def test_the_plan_s_last_cue_raises_that_its_limit_is_exceeded(sdk: Sdk, settings: Settings) -> None:
    with trio.fail_after(HANG):
        async with running(settings.model_copy(update={"active_cue_limit": 1})) as daemon:
            api = await daemon.api.register()
            await api.post("/v1/cues", cue())
            (refusal,) = await sdk.refusals(api, ("cues.create", {"name": "one too many", **WORKER}))

    assert told(refusal) == ("CueLimitExceededError", 403, "cue_limit_exceeded")


async def test_over_the_rate_limit_the_exception_says_in_seconds_when_to_come_back(
    sdk: Sdk, settings: Settings
) -> None:
    with trio.fail_after(HANG):
        async with running(settings.model_copy(update={"rate_limit_per_minute": 2})) as daemon:
            api = await daemon.api.register()
            answers = await sdk.run("call", api, calls=[("cues.list", {})] * 3)

    refusal = answers[2]["refusal"]
    assert [*answers[0], *answers[1]] == ["returned", "returned"]
    assert told(refusal) == ("RateLimitError", 429, "rate_limit_exceeded")
    assert type(refusal["retry_after"]) is int
    assert 1 <= refusal["retry_after"] <= 60


async def test_while_postgresql_is_away_every_call_is_a_server_error(sdk: Sdk, settings: Settings) -> None:
    with trio.fail_after(HANG), own_postgres() as server:
        async with running(settings.model_copy(update={"database_url": SecretStr(server.dsn)})) as daemon:
            api = await daemon.api.register()
            await trio.to_thread.run_sync(server.stop)
            refusals = await sdk.refusals(
                api,
                ("cues.list", {}),
                ("cues.create", {"name": "x", **WORKER}),
                ("executions.get", {"execution_id": UNKNOWN}),
            )
            await trio.to_thread.run_sync(server.start)
            (back,) = await sdk.call(api, ("cues.list", {}))

    assert [told(refusal) for refusal in refusals] == [("CueAPIServerError", 503, "storage_unavailable")] * 3
    assert back["total"] == 0
