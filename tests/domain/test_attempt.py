"""What the wire says, and what follows: the whole table."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.attempt import (
    RETRY_AFTER_LIMIT,
    Answered,
    Delivery,
    Postponed,
    Result,
    Unreachable,
    evaluate_attempt,
    retry_after_seconds,
    webhook_body,
)
from cueapi.domain.execution import SHORTAGE_PAUSE, AlertType, Status, Transition
from cueapi.domain.outcome import TEXT_KEPT, Evidence
from cueapi.domain.retry import Retry
from cueapi.domain.verification import VerificationRules
from tests.delivery.deliveries import delivery_of

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LAST = delivery_of(attempt=4)


def follows(result: Result, delivery: Delivery | None = None) -> Transition:
    return evaluate_attempt(delivery or delivery_of(), result, duration=0.25, now=NOW)


def said(**fields: object) -> bytes:
    return json.dumps(fields).encode()


FAILURES: dict[str, tuple[Result, int | None, str]] = {
    "300": (Answered(300), 300, "The handler answered 300; redirects are not followed."),
    "302": (Answered(302), 302, "The handler answered 302; redirects are not followed."),
    "308": (Answered(308), 308, "The handler answered 308; redirects are not followed."),
    "400": (Answered(400), 400, "The handler answered 400."),
    "401": (Answered(401), 401, "The handler answered 401."),
    "404": (Answered(404), 404, "The handler answered 404."),
    "409": (Answered(409), 409, "The handler answered 409."),
    "429": (Answered(429), 429, "The handler answered 429."),
    "500": (Answered(500), 500, "The handler answered 500."),
    "503": (Answered(503), 503, "The handler answered 503."),
    "599": (Answered(599), 599, "The handler answered 599."),
    "101": (Answered(101), 101, "The handler answered 101 (switching protocols), which was not asked for."),
    "100": (Answered(100), 100, "The handler answered 100."),
    "a report of success behind 500": (Answered(500, said(success=True)), 500, "The handler answered 500."),
    "nobody answers": (Unreachable("connection refused"), None, "connection refused"),
    "a timeout": (Unreachable("no answer within 30 s"), None, "no answer within 30 s"),
}


@pytest.mark.parametrize(("result", "status", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failed_attempt_is_repeated_after_its_pause(result: Result, status: int | None, message: str) -> None:
    step = follows(result)

    assert (step.status, step.pause, step.ends) == (Status.RETRYING, 60.0, False)
    assert step.record is not None
    assert (step.record.http_status, step.record.error_message, step.record.duration_ms) == (status, message, 250)
    assert (step.report, step.consecutive_failures, step.alert, step.delivered) == (None, None, None, False)
    assert step.logged_as == "failed"


@pytest.mark.parametrize(("result", "status", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_the_last_failed_attempt_ends_the_execution(result: Result, status: int | None, message: str) -> None:
    step = follows(result, LAST)

    assert (step.status, step.pause, step.ends) == (Status.FAILED, None, True)
    assert (step.consecutive_failures, step.alert) == (1, AlertType.EXECUTION_FAILED)
    assert step.record is not None
    assert (step.record.http_status, step.record.error_message) == (status, message)


@pytest.mark.parametrize("answer", [Answered(200), Answered(200, said(success=True)), Answered(500), Answered(410)])
def test_the_record_tells_when_the_request_went_out_and_the_answer_began(answer: Answered) -> None:
    record = follows(evolve(answer, sent_after=0.0124, first_byte_after=0.2496)).record

    assert record is not None
    assert (record.sent_after_ms, record.first_byte_after_ms, record.duration_ms) == (12, 250, 250)


def test_the_record_of_an_attempt_without_an_answer_tells_how_far_it_came() -> None:
    records = [follows(Unreachable("no answer", sent_after=sent)).record for sent in (0.02, None)]

    assert [(one.sent_after_ms, one.first_byte_after_ms) for one in records if one] == [(20, None), (None, None)]


def test_an_attempt_that_we_are_too_short_for_is_the_same_attempt_a_little_later() -> None:
    first, later = follows(Postponed("too many open files")), follows(Postponed("too many open files"), LAST)

    assert (first.status, later.status) == (Status.PENDING, Status.RETRYING)
    assert {(step.released, step.pause, step.record, step.logged_as) for step in (first, later)} == {
        (True, SHORTAGE_PAUSE, None, None)
    }


def test_410_is_a_failed_attempt_and_the_last_one_however_many_were_left() -> None:
    step = follows(Answered(410, b"gone fishing"))

    assert (step.status, step.alert) == (Status.FAILED, AlertType.EXECUTION_FAILED)
    assert step.record is not None
    assert step.record.error_message == "The handler answered 410 (gone); it is not tried again."
    assert step.record.response_body == "gone fishing"


def test_an_answer_that_could_not_be_decoded_is_delivered_and_says_so() -> None:
    step = follows(Answered(200, b"\x0b", packed="br"))

    assert (step.status, step.delivered, step.report) == (Status.SUCCESS, True, None)
    assert step.record is not None
    assert step.record.error_message == (
        "The answer could not be decoded from br, which was not asked for; no outcome was read."
    )


def test_a_report_that_cannot_be_read_is_a_failed_attempt_that_says_so() -> None:
    step = follows(Answered(200, b'{"success": false, "error": "out of pap'))

    assert (step.status, step.pause, step.delivered, step.report) == (Status.RETRYING, 60.0, False, None)
    assert step.record is not None
    assert str(step.record.error_message).startswith("The answer reports on the work and cannot be read as JSON: ")
    assert step.record.response_body == '{"success": false, "error": "out of pap'


DELIVERED: dict[str, Answered] = {
    "200": Answered(200),
    "200, text": Answered(200, b"ok"),
    "201": Answered(201, b"{}"),
    "202": Answered(202, b'{"accepted": true}'),
    "204": Answered(204),
    "299": Answered(299),
    "success as a text": Answered(200, said(success="true")),
    "success as a number": Answered(200, said(success=1)),
    "success is null": Answered(200, said(success=None)),
    "another name": Answered(200, said(Success=True)),
    "a list": Answered(200, b'[{"success": true}, 1]'),
    "a bare true": Answered(200, b"true"),
    "broken JSON": Answered(200, b'{"done": true'),
    "a page": Answered(200, b"<html>success: true</html>"),
    "a page with a script": Answered(200, b'<!DOCTYPE html><script>state = {"success": true, "x": 1}</script>'),
    "a page with a style": Answered(200, b"<html><style>p {color: red}</style><p>success: true"),
    "a piece of HTML": Answered(200, b'<style>p {color: red}</style><p class="success">true</p> success: true'),
    "a sentence": Answered(200, b"success: true, and {all} is well"),
    "a sentence of a success": Answered(200, b'{3} of 3 done, "success" it is; success=true'),
    "success before an object": Answered(200, b'"success": true, as {"name": "x"}'),
    "another key of an object in a text": Answered(200, b'done: {"is_success": true, "successful": true}'),
    "too deep": Answered(200, b"[" * 60_000),
}


@pytest.mark.parametrize("answer", DELIVERED.values(), ids=DELIVERED.keys())
@pytest.mark.parametrize("attempt", [1, 4], ids=["a try", "the last try"])
def test_any_other_2xx_is_delivered_and_the_handler_reports_later(answer: Answered, attempt: int) -> None:
    step = follows(answer, delivery_of(attempt=attempt, outcome_deadline=90.0))

    assert (step.status, step.delivered, step.deadline) == (Status.SUCCESS, True, 90.0)
    assert (step.report, step.verification, step.consecutive_failures, step.alert) == (None, None, None, None)
    assert step.record is not None
    assert (step.record.http_status, step.record.error_message) == (answer.status, None)
    assert step.logged_as == "delivered"


def test_without_a_deadline_of_the_cue_nothing_is_awaited() -> None:
    assert follows(Answered(202)).deadline is None


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("deadline", [None, 90.0], ids=["no deadline", "deadline"])
def test_success_true_is_recorded_at_once_and_nothing_more_is_awaited(status: int, deadline: float | None) -> None:
    body = said(success=True, result="done", metadata={"n": 1}, external_id="x-1", artifacts=["a"])

    step = follows(Answered(status, body), delivery_of(outcome_deadline=deadline))

    assert (step.status, step.delivered, step.deadline, step.consecutive_failures) == (Status.SUCCESS, True, None, 0)
    assert step.report is not None
    assert (step.report.result, step.report.metadata) == ("done", {"n": 1})
    assert step.report.evidence == Evidence(external_id="x-1", artifacts=["a"])
    assert step.verification is not None
    assert (step.verification.state, step.logged_as) == ("reported_success", "success")


def test_evidence_that_the_cue_asks_for_is_looked_for_in_the_answer() -> None:
    asking = evolve(delivery_of(), verification=VerificationRules("require_external_id"))

    with_it = follows(Answered(200, said(success=True, external_id="x")), asking)
    without = follows(Answered(200, said(success=True)), asking)

    assert (with_it.verification and with_it.verification.state, with_it.status) == ("verified_success", Status.SUCCESS)
    assert (without.verification and without.verification.state, without.status) == (
        "verification_failed",
        Status.SUCCESS,
    )
    assert (without.verification and without.verification.missing, without.consecutive_failures) == (
        "external_id",
        None,
    )


def test_success_false_is_a_failed_attempt_with_an_outcome() -> None:
    step = follows(Answered(200, said(success=False, error="no paper", result="half")))

    assert (step.status, step.pause, step.consecutive_failures, step.alert) == (Status.RETRYING, 60.0, None, None)
    assert step.report is not None
    assert (step.report.success, step.report.error, step.report.result) == (False, "no paper", "half")
    assert step.verification is not None
    assert (step.verification.state, step.logged_as) == ("reported_failure", "reported_failure")
    assert step.record is not None
    assert (step.record.http_status, step.record.error_message) == (200, "no paper")


@pytest.mark.parametrize(
    ("body", "delivery"),
    [(said(success=False), LAST), (said(success=False, retry=False), delivery_of())],
    ids=["on the last try", "which asks for no retry"],
)
def test_a_final_success_false_fails_with_the_outcome(body: bytes, delivery: Delivery) -> None:
    step = follows(Answered(200, body), delivery)

    assert (step.status, step.consecutive_failures, step.alert) == (Status.FAILED, 1, AlertType.EXECUTION_FAILED)
    assert step.verification is not None
    assert step.verification.state == "reported_failure"
    assert step.record is not None
    assert step.record.error_message == "The handler reported a failure."


@pytest.mark.parametrize("body", [said(success=True) + b" " * 70_000, b"x" * 65_536], ids=["a report", "text"])
def test_an_answer_that_was_too_long_is_delivered_unread_and_says_so(body: bytes) -> None:
    step = follows(Answered(200, body[:65_536], cut=True), delivery_of(outcome_deadline=90.0))

    assert (step.status, step.report, step.deadline) == (Status.SUCCESS, None, 90.0)
    assert step.record is not None
    assert step.record.error_message == "The answer was longer than 64 KiB; no outcome was read."
    assert len(step.record.response_body or "") == TEXT_KEPT


def test_an_error_that_was_too_long_is_a_failed_attempt_all_the_same() -> None:
    assert follows(Answered(500, b"x" * 65_536, cut=True)).status == Status.RETRYING


FIELDS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "a result that is a number": ({"result": 5}, ("result",)),
    "metadata that is a list": ({"metadata": [1]}, ("metadata",)),
    "metadata that is too large": ({"metadata": {"x": "y" * 10_300}}, ("metadata",)),
    "an external id that is too long": ({"external_id": "x" * 501}, ("external_id",)),
    "an external id at its limit": ({"external_id": "x" * 500}, ()),
    "artifacts that are none": ({"artifacts": {"a": 1}}, ("artifacts",)),
    "several": ({"summary": 1, "result_url": []}, ("result_url", "summary")),
    "a retry that is a text": ({"retry": "no"}, ("retry",)),
    "nulls": ({"result": None, "metadata": None, "artifacts": None}, ()),
    "a strange field": ({"colour": "red"}, ()),
}


@pytest.mark.parametrize(("fields", "dropped"), FIELDS.values(), ids=FIELDS.keys())
def test_an_invalid_field_is_dropped_and_named_and_the_rest_counts(
    fields: dict[str, object], dropped: tuple[str, ...]
) -> None:
    step = follows(Answered(200, said(success=True, **fields)))

    assert step.status == Status.SUCCESS
    assert step.report is not None
    assert step.dropped == dropped
    assert step.report.metadata is None


LATER = [format_datetime(NOW + timedelta(minutes=minutes), usegmt=True) for minutes in (10, 20)]

RETRY_AFTER: dict[str, tuple[str | None, float]] = {
    "seconds": ("120", 120.0),
    "blanks around": (" 5 ", 5.0),
    "zero": ("0", 0.0),
    "a date": (format_datetime(NOW + timedelta(minutes=10), usegmt=True), 600.0),
    "a date in another zone": ("Wed, 04 Mar 2026 07:06:07 +0100", 3600.0),
    "a date without zone": ("Wed, 04 Mar 2026 05:07:07", 60.0),
    "a date that has passed": (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
    "more than a day": ("90000", RETRY_AFTER_LIMIT),
    "a date beyond a day": (format_datetime(NOW + timedelta(days=9), usegmt=True), RETRY_AFTER_LIMIT),
    "more digits than a number has": ("9" * 5000, RETRY_AFTER_LIMIT),
    "none": (None, 0.0),
    "two of them": ("120, 300", 300.0),
    "two of them, the longer one first": ("300,120", 300.0),
    "a number and a word": ("120, soon", 120.0),
    "a number and nothing": ("120,", 120.0),
    "nothing and a number": (", 120", 120.0),
    "nothing twice": (",", 0.0),
    "two dates": (f"{LATER[0]}, {LATER[1]}", 1200.0),
    "two dates, the later one first": (f"{LATER[1]}, {LATER[0]}", 1200.0),
    "a number and a date": (f"120, {LATER[0]}", 600.0),
    "a date and a number": (f"{LATER[0]},900", 900.0),
    "a date as RFC 850 has it, and a number": ("Wednesday, 04-Mar-26 05:16:07 GMT, 5", 600.0),
    "a date as asctime has it, and a number": ("Wed Mar  4 05:16:07 2026, 5", 600.0),
    "empty": ("", 0.0),
    "negative": ("-5", 0.0),
    "a fraction": ("1.5", 0.0),
    "words": ("tomorrow", 0.0),
    "other digits": ("١٢", 0.0),
    "no such date": ("Wed, 99 Mar 2026 05:06:07 GMT", 0.0),
    "a day beyond all numbers": ("Mon, 1 Jan 99999999999999999999 00:00:00 GMT", 0.0),
    "a zone beyond all numbers": ("Mon, 1 Jan 2026 00:00:00 +99999999999999999999", 0.0),
    "an hour beyond all numbers": ("Mon, 1 Jan 2026 99999999999999999999:00:00 GMT", 0.0),
    "a year beyond the calendar": ("Wed, 04 Mar 99999 05:06:07 GMT", 0.0),
    "a date at the end of time in another zone": ("Fri, 31 Dec 9999 23:59:59 -2359", RETRY_AFTER_LIMIT),
    "a date at the beginning of time": ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
}


@pytest.mark.parametrize(("header", "seconds"), RETRY_AFTER.values(), ids=RETRY_AFTER.keys())
def test_retry_after_is_read_as_seconds_or_date_and_at_most_a_day(header: str | None, seconds: float) -> None:
    assert retry_after_seconds(header, NOW) == seconds


DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y", "%d %b %Y %H:%M:%S +0000")
UNREAD = ("", "soon", "-5", "1.5", "Wed", "99 Mar 2026 05:06:07 GMT", "١٢")


def forms_of(wait: int) -> list[str]:
    """How that many seconds can be written: those that have passed only as a date."""
    return [str(wait)] * (wait >= 0) + [(NOW + timedelta(seconds=wait)).strftime(form) for form in DATES]


@given(st.data())
def test_of_several_retry_afters_the_longest_counts_in_whichever_order_and_form(data: st.DataObject) -> None:
    waits = data.draw(st.lists(st.integers(-90_000, 90_000), max_size=5))
    said = [data.draw(st.sampled_from(forms_of(wait))) for wait in waits]
    parts = data.draw(st.permutations([*said, *data.draw(st.lists(st.sampled_from(UNREAD), max_size=3))]))
    header = data.draw(st.sampled_from([",", ", ", " , "])).join(parts)

    assert retry_after_seconds(header, NOW) == min(max([0, *waits]), RETRY_AFTER_LIMIT)


@given(st.text(max_size=60))
def test_no_retry_after_is_too_strange_to_be_ignored(header: str) -> None:
    assert 0.0 <= retry_after_seconds(header, NOW) <= RETRY_AFTER_LIMIT


@pytest.mark.parametrize(
    ("status", "header", "pause"),
    [(429, "120", 120.0), (503, "120", 120.0), (429, "5", 60.0), (500, "120", 60.0), (404, "120", 60.0)],
    ids=["429", "503", "sooner than the pause", "500", "404"],
)
def test_a_handler_that_is_busy_puts_the_next_attempt_off_and_never_forward(
    status: int, header: str, pause: float
) -> None:
    assert follows(Answered(status, retry_after=header)).pause == pause


def test_retry_after_brings_no_attempt_where_none_is_left() -> None:
    assert follows(Answered(503, retry_after="5"), LAST).status == Status.FAILED


def test_of_an_answer_2_000_characters_are_kept_and_none_that_cannot_be_stored() -> None:
    step = follows(Answered(500, b"a\x00\xff" + "ü".encode() * 5000))

    assert step.record is not None
    body = step.record.response_body or ""
    assert body.startswith("a\ufffd\ufffdü")
    assert len(body) == TEXT_KEPT


@given(st.binary(max_size=300), st.integers(100, 599), st.integers(1, 6))
def test_whatever_comes_back_something_follows_that_can_be_stored(body: bytes, status: int, attempt: int) -> None:
    step = follows(Answered(status, body), delivery_of(attempt=attempt, retry=Retry(4)))

    assert step.record is not None
    stored = f"{step.record.response_body}{step.record.error_message}{step.report}"
    assert "\x00" not in stored
    stored.encode()
    assert step.status in {Status.SUCCESS, Status.RETRYING, Status.FAILED}
    assert (step.status is Status.RETRYING) is (step.pause is not None)


PAYLOADS = st.dictionaries(
    st.text(max_size=8),
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.lists(st.integers()),
    max_size=4,
)


@given(PAYLOADS, st.text(max_size=30), st.integers(1, 9))
def test_the_body_is_json_as_it_would_be_dumped_with_sorted_keys(
    payload: dict[str, object], name: str, attempt: int
) -> None:
    body = webhook_body(
        execution_id=UUID(int=7),
        cue_id="cue_abcdefghijkl",
        name=name,
        scheduled_for=NOW,
        attempt=attempt,
        payload=json.dumps(payload, sort_keys=True),
    )

    whole = {
        "execution_id": str(UUID(int=7)),
        "cue_id": "cue_abcdefghijkl",
        "name": name,
        "scheduled_for": "2026-03-04T05:06:07Z",
        "attempt": attempt,
        "payload": payload,
    }
    assert body == json.dumps(whole, sort_keys=True).encode()


def test_secrets_are_not_shown() -> None:
    assert "whsec_" not in repr(delivery_of())
