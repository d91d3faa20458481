"""A client that asks is told what of its body arrived."""

import hashlib
import json

import httpx
import trio

from tests.conftest import Api, cue

ASKED = {"X-CueAPI-Verify-Echo": "true"}


async def send(api: Api, method: str, path: str, content: bytes, **headers: str) -> httpx.Response:
    """Send *content* as it stands, and ask."""
    named = {"Authorization": f"Bearer {api.key}", **ASKED, **headers}
    return await api.client.request(method, path, content=content, headers=named)


async def test_create_change_and_fire_tell_the_body_as_parsed_and_the_digest_of_its_bytes(api: Api) -> None:
    said = cue(payload={"ä": "😀", "large": 10**300}, strange=1)
    with trio.fail_after(20):
        made = await send(api, "POST", "/v1/cues", create := json.dumps(said, indent=1).encode())
        path = f"/v1/cues/{made.json()['id']}"
        changed = await send(api, "PATCH", path, change := b'{"description": "a", "description":"b"}')
        fired = await send(api, "POST", f"{path}/fire", fire := b'  {"payload_override": {}}')
        empty = await send(api, "POST", f"{path}/fire", b"")

    answers = [made, changed, fired, empty]
    assert [one.status_code for one in answers] == [201, 200, 200, 200]
    assert [one.json()["body_received"] for one in answers] == [
        said,
        {"description": "b"},
        {"payload_override": {}},
        {},
    ]
    assert [one.json()["body_received_sha256"] for one in answers] == [
        hashlib.sha256(content).hexdigest() for content in (create, change, fire, b"")
    ]
    assert made.json()["payload"] == said["payload"]


async def test_who_does_not_ask_is_told_nothing_of_it(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        path = f"/v1/cues/{made['id']}"
        answers = [
            made,
            await api.post("/v1/cues", cue(), X_CueAPI_Verify_Echo="false"),
            await api.patch(path, {"description": "d"}),
            await api.post(f"{path}/fire"),
            await api.get(path, **{"X-CueAPI-Verify-Echo": "true"}),
        ]

    assert [name for one in answers for name in one if name.startswith("body_received")] == []


async def test_a_repeat_under_a_key_is_told_what_the_first_request_was(api: Api) -> None:
    body = json.dumps(cue()).encode()
    with trio.fail_after(20):
        first = await send(api, "POST", "/v1/cues", body, **{"Idempotency-Key": "k"})
        again = await send(api, "POST", "/v1/cues", b" " + body, **{"Idempotency-Key": "k"})

    assert (again.headers["Idempotent-Replayed"], again.content) == ("true", first.content)
    assert first.json()["body_received_sha256"] == hashlib.sha256(body).hexdigest()
