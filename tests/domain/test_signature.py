"""What a handler sees, and that it can verify it with nothing of ours."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from uuid import UUID

import h11
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from cueapi.domain.attempt import Delivery
from cueapi.domain.signature import (
    canonical_body,
    check_headers,
    headers,
    is_reserved,
    is_signed,
    notice_headers,
    sent_body,
    sign,
    standard_signature,
)

SECRET = "whsec_" + "0123456789abcdef" * 4
OLD_SECRET = "whsec_" + "fedcba9876543210" * 4
MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
EXECUTION = UUID("01890000-0000-7000-8000-000000000001")
BODY = canonical_body(
    execution_id=EXECUTION,
    cue_id="cue_abcdefghijkl",
    name="näme",
    scheduled_for=MOMENT,
    attempt=2,
    payload={"b": [1, {"z": None, "a": 1.5}], "a": "ü"},
)
DELIVERY = Delivery(
    execution_id=EXECUTION,
    cue_id="cue_abcdefghijkl",
    cue_name="näme",
    user_id=1,
    claim=UUID(int=1),
    attempt=2,
    scheduled_for=MOMENT,
    method="POST",
    url="https://handler.example/",
    headers={},
    body=BODY,
    secrets=(SECRET,),
    report_url="https://cueapi.example/v1/report/run_token",
    timeout=30.0,
    host="handler.example",
)


def test_the_body_is_what_a_receiver_arrives_at_when_it_serialises_again() -> None:
    assert BODY == (
        b'{"attempt": 2, "cue_id": "cue_abcdefghijkl", '
        b'"execution_id": "01890000-0000-7000-8000-000000000001", '
        b'"name": "n\\u00e4me", "payload": {"a": "\\u00fc", "b": [1, {"a": 1.5, "z": null}]}, '
        b'"scheduled_for": "2026-03-04T05:06:07Z"}'
    )
    assert json.dumps(json.loads(BODY), sort_keys=True).encode() == BODY


def test_the_signature_is_an_hmac_with_the_whole_secret() -> None:
    independent = hmac.new(SECRET.encode(), b"1700000000." + BODY, hashlib.sha256).hexdigest()

    assert sign(SECRET, 1700000000, BODY) == f"v1={independent}"


def test_standard_webhooks_verifies_a_delivery() -> None:
    sent = dict(headers(DELIVERY, int(time.time())))

    assert Webhook(SECRET).verify(BODY, sent) == json.loads(BODY)
    assert sent["webhook-id"] == str(EXECUTION)


def test_while_secrets_overlap_both_verify_and_ours_is_of_the_new_one() -> None:
    now = int(time.time())
    sent = dict(headers(evolve(DELIVERY, secrets=(SECRET, OLD_SECRET)), now))

    assert Webhook(SECRET).verify(BODY, sent)
    assert Webhook(OLD_SECRET).verify(BODY, sent)
    assert sent["X-CueAPI-Signature"] == sign(SECRET, now, BODY)


def test_the_key_of_standard_webhooks_is_the_decoded_part_behind_the_prefix() -> None:
    key = base64.b64decode("0123456789abcdef" * 4)
    independent = base64.b64encode(hmac.new(key, b"id.7.body", hashlib.sha256).digest()).decode()

    assert standard_signature([SECRET], "id", 7, b"body") == f"v1,{independent}"


def test_a_delivery_says_what_it_is() -> None:
    sent = dict(headers(DELIVERY, 1700000000))

    assert sent["X-CueAPI-Timestamp"] == sent["webhook-timestamp"] == "1700000000"
    assert sent["X-CueAPI-Cue-Id"] == "cue_abcdefghijkl"
    assert sent["X-CueAPI-Execution-Id"] == str(EXECUTION)
    assert sent["X-CueAPI-Scheduled-For"] == "2026-03-04T05:06:07Z"
    assert sent["X-CueAPI-Attempt"] == "2"
    assert sent["X-CueAPI-Report-URL"] == "https://cueapi.example/v1/report/run_token"
    assert sent["User-Agent"] == "CueAPI/1.0"
    assert sent["Content-Type"] == "application/json"
    assert sent["Accept-Encoding"] == "identity"


def test_get_sends_no_body_and_signs_none() -> None:
    asked = evolve(DELIVERY, method="GET")
    sent = dict(headers(asked, 1700000000))

    assert sent_body(asked) == b""
    assert sent["X-CueAPI-Signature"] == sign(SECRET, 1700000000, b"")
    assert sent["webhook-signature"] == standard_signature([SECRET], str(EXECUTION), 1700000000, b"")
    assert "Content-Type" not in sent


def test_with_get_only_the_standard_signature_tells_one_execution_from_another() -> None:
    first, other = (
        dict(headers(evolve(DELIVERY, method="GET", execution_id=UUID(int=number)), 1700000000)) for number in (1, 2)
    )

    assert first["X-CueAPI-Signature"] == other["X-CueAPI-Signature"]
    assert first["webhook-signature"] != other["webhook-signature"]


@pytest.mark.parametrize(
    "name",
    [
        *(name for name, _ in headers(DELIVERY, 0) if name not in {"Accept-Encoding", "Content-Type"}),
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
    ],
)
def test_the_cues_own_headers_replace_none_of_ours(name: str) -> None:
    ours = headers(DELIVERY, 0)
    sent = headers(evolve(DELIVERY, headers={name.upper(): "forged", name.lower(): "forged", "X-Own": "1"}), 0)

    assert set(sent) == {*ours, ("X-Own", "1")}


def test_the_cue_may_say_what_its_content_type_is() -> None:
    sent = headers(evolve(DELIVERY, headers={"content-type": "text/plain"}), 0)

    assert [value for name, value in sent if name.lower() == "content-type"] == ["text/plain"]


def test_headers_that_cannot_be_sent_are_left_out() -> None:
    bad = {"X-Split": "a\r\nX-Evil: 1", "X Space": "1", "X-Wide": "€", "": "1", "X-Nul": "\0"}

    assert headers(evolve(DELIVERY, headers=bad), 0) == headers(DELIVERY, 0)


def test_a_notice_is_signed_both_ways_with_a_secret_that_has_no_prefix() -> None:
    secret, now = "ab" * 32, int(time.time())

    sent = dict(notice_headers(secret, "failure-7", now, b'{"a": 1}'))

    assert sent["X-CueAPI-Signature"] == sign(secret, now, b'{"a": 1}')
    assert sent["X-CueAPI-Timestamp"] == sent["webhook-timestamp"] == str(now)
    assert sent["webhook-id"] == "failure-7"
    assert Webhook(secret).verify('{"a": 1}', sent) == {"a": 1}


@pytest.mark.parametrize(
    "given_headers",
    [
        {"X Y": "1"},
        {"": "1"},
        {"X": "a\nb"},
        {"X": "a\r"},
        {"X": "€"},
        {"X:": "1"},
        {"Ü": "1"},
        {"X" * 257: "1"},
        {"X": "a" * 9000},
        {"X-A": "1", "x-a": "2"},
        {f"X-{number}": "1" for number in range(51)},
    ],
)
def test_headers_that_no_request_can_carry_are_problems(given_headers: dict[str, str]) -> None:
    assert check_headers(given_headers)


def test_usual_headers_are_no_problem() -> None:
    assert check_headers({"Authorization": "Bearer a b", "X-Name": "jürgen", "X-Empty": "", "Host": "x"}) == []


@given(st.dictionaries(st.text(), st.text(), max_size=3))
def test_whatever_a_cue_has_for_headers_makes_a_request(given_headers: dict[str, str]) -> None:
    sent = headers(evolve(DELIVERY, headers=given_headers), 0)

    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent]
    assert h11.Request(method="POST", target="/", headers=[("Host", "a"), *raw])


@pytest.mark.parametrize(
    ("signature", "secret", "timestamp", "body", "signed"),
    [
        (sign(SECRET, 17, BODY), SECRET, "17", BODY, True),
        (sign(SECRET, 17, b""), SECRET, "17", b"", True),
        (sign(SECRET, 17, BODY), SECRET, "18", BODY, False),
        (sign(SECRET, 17, BODY), OLD_SECRET, "17", BODY, False),
        (sign(SECRET, 17, BODY), SECRET, "17", BODY + b" ", False),
        (sign(SECRET, 17, BODY), SECRET, "", BODY, False),
        (sign(SECRET, 17, BODY), SECRET, "-17", BODY, False),
        (sign(SECRET, 17, BODY), SECRET, "١٧", BODY, False),
        (sign(SECRET, 17, BODY), SECRET, "9" * 5_000, BODY, False),
        ("", SECRET, "17", BODY, False),
        ("v1=ä", SECRET, "17", BODY, False),
    ],
    ids=["genuine", "no body", "another moment", "another secret", "another body", "no moment", "a negative one",
         "other digits", "a huge one", "no signature", "no hex"],
)  # fmt: skip
def test_a_signature_is_known_again(signature: str, secret: str, timestamp: str, body: bytes, signed: bool) -> None:
    assert is_signed(signature, secret, timestamp, body) is signed


@pytest.mark.parametrize(
    "name",
    ["Transfer_Encoding", "X_CueAPI_Signature", "webhook_id", "CONTENT_LENGTH", "Accept-Encoding", "Expect",
     "X-CueAPI-Alert-Id", "x_cueapi-alert_id", "Host", "Keep_Alive"],
)  # fmt: skip
def test_a_header_that_a_server_could_take_for_ours_is_reserved(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "X_Custom", "Hosts"])
def test_every_other_header_is_the_cue_s_own(name: str) -> None:
    assert not is_reserved(name)


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_nothing_is_signed_with_an_empty_secret(secret: str) -> None:
    with pytest.raises(ValueError, match="no secret"):
        notice_headers(secret, "message", 1, b"{}")
    with pytest.raises(ValueError, match="no secret"):
        headers(evolve(DELIVERY, secrets=(SECRET, secret)), 1)
