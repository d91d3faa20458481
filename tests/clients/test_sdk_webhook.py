"""The SDK's `verify_webhook`, on what was really delivered."""

import hashlib
import hmac
import json
import time

import trio

from tests.clients.sdk import Sdk
from tests.conftest import Api, cue
from tests.process import HANG
from tests.receiver import open_receiver

PAYLOAD = {
    "floats": [1e16, 0.1, -0.0, 1.0, 1e-7, 5e-324, 1.7976931348623157e308],
    "integers": [2**70, -(2**63) - 1, 0],
    "grün": {"Ω": "naïve 日本語", "b": {"z": None, "a": [True, {}, []]}, "😀": '\u2028\x7f\t"\\/'},
    "": "an empty key",
}
HOUR = 3600


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of *body* at another moment."""
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


async def test_a_delivery_is_genuine_in_every_form_and_nothing_else_is(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([(200, b'{"success": true}')]) as receiver:
            secret = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]
            made = await api.post("/v1/cues", cue(receiver.url(), name="größe", payload=PAYLOAD))
            await api.post(f"/v1/cues/{made['id']}/fire")
            (request,) = await receiver.wait_for(1)
        timestamp = request.header("x-cueapi-timestamp")
        long_ago = str(int(time.time()) - HOUR // 2)
        told = await sdk.run(
            "verify",
            api,
            body=request.body.decode(),
            signature=request.header("x-cueapi-signature"),
            secret=secret,
            timestamp=timestamp,
            old_timestamp=long_ago,
            old_signature=sign(secret, long_ago, request.body),
        )

    delivered = json.loads(request.body)["payload"]
    assert json.dumps(delivered, sort_keys=True) == json.dumps(PAYLOAD, sort_keys=True)
    assert told == {
        "bytes": True,
        "str": True,
        "dict": True,
        "changed body": False,
        "changed timestamp": False,
        "other secret": False,
        "no timestamp": False,
        "old": False,
        "old but tolerated": True,
    }
