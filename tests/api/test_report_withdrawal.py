"""Report URLs of an account that passes to the owner of its address end with the keys of before."""

from typing import Any

from attrs import evolve

from cueapi.settings import Settings
from tests.api.mailing import KEY, mailing
from tests.conftest import Api, cue

OWNER = "owner@example.com"
WORKER = {"transport": "worker", "callback": None}


async def claimed(api: Api, cue_id: str) -> str:
    """The path of the report URL of a new execution, which a worker has claimed."""
    fired = await api.post(f"/v1/cues/{cue_id}/fire")
    claim = await api.post(f"/v1/executions/{fired['id']}/claim", {"worker_id": "w"})
    return "/v1/report/" + str(claim["report_url"]).rpartition("/")[2]


async def test_what_was_claimed_by_another_is_reported_by_its_url_no_more_once_the_owner_is_there(
    settings: Settings,
) -> None:
    async with mailing(settings) as post:
        stranger = await post.daemon.api.register(OWNER)
        made: dict[str, Any] = await stranger.post("/v1/cues", cue() | WORKER)
        path = await claimed(stranger, made["id"])
        alive = await post.daemon.client.post(f"{path}/heartbeat", json={})
        page = await post.press(await post.link_to(OWNER))
        owner = evolve(stranger, key=KEY.findall(page.text)[0])
        refused = [
            await post.daemon.client.request(method, path + end)
            for method, end in (("POST", "/success"), ("POST", "/heartbeat"), ("GET", ""))
        ]
        later = await claimed(owner, made["id"])
        reported = await post.daemon.client.post(f"{later}/success")

    assert alive.status_code == 200
    assert [(one.status_code, one.json()["error"]["code"]) for one in refused] == [(410, "report_expired")] * 3
    assert (reported.status_code, reported.json()["outcome_recorded"]) == (200, True)
