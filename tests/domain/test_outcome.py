"""Reports, evidence, and how far they are believed."""

import json
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.errors import Refusal
from cueapi.domain.outcome import (
    ARTIFACTS_LIMIT,
    EVIDENCE_LENGTHS,
    METADATA_LIMIT,
    TEXT_KEPT,
    Evidence,
    Mode,
    OutcomeState,
    Report,
    ReportUnreadable,
    artifacts_fit,
    clean_text,
    metadata_fits,
    read_inline,
    shortened,
)
from cueapi.domain.verification import Verification, VerificationRules, completed, manual_verdict, verify

NEEDED = {
    Mode.EXTERNAL_ID: Evidence(external_id="x"),
    Mode.RESULT_URL: Evidence(result_url="https://x.example/"),
    Mode.ARTIFACTS: Evidence(artifacts=["a"]),
}
FULL = Evidence("x", "https://x.example/", "r", "t", "s", ["a"])
VALID = Verification(OutcomeState.VERIFIED_SUCCESS, "valid")


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("evidence", [Evidence(), FULL], ids=["no evidence", "all evidence"])
def test_a_failure_is_a_reported_failure_in_every_mode(mode: Mode, evidence: Evidence) -> None:
    assert verify(VerificationRules(mode), Report(success=False, evidence=evidence)) == Verification(
        OutcomeState.REPORTED_FAILURE
    )


@pytest.mark.parametrize(
    ("mode", "state"),
    [(Mode.NONE, OutcomeState.REPORTED_SUCCESS), (Mode.MANUAL, OutcomeState.VERIFICATION_PENDING)],
)
@pytest.mark.parametrize("evidence", [Evidence(), FULL], ids=["no evidence", "all evidence"])
def test_where_no_evidence_is_asked_for_none_matters(mode: Mode, state: OutcomeState, evidence: Evidence) -> None:
    assert verify(VerificationRules(mode), Report(success=True, evidence=evidence)) == Verification(state)


@pytest.mark.parametrize(("mode", "evidence"), NEEDED.items(), ids=NEEDED.keys())
def test_success_is_verified_by_the_evidence_that_is_asked_for_and_by_no_other(mode: Mode, evidence: Evidence) -> None:
    others = [each for asked, each in NEEDED.items() if asked is not mode]

    assert verify(VerificationRules(mode), Report(success=True, evidence=evidence)) == VALID
    for other in (Evidence(), Evidence("", "", "", "", "", []), *others):
        verification = verify(VerificationRules(mode), Report(success=True, evidence=other))
        assert (verification.state, verification.validation) == (OutcomeState.VERIFICATION_FAILED, "missing")
        assert verification.missing == mode.removeprefix("require_")


@pytest.mark.parametrize(("mode", "evidence"), NEEDED.items(), ids=NEEDED.keys())
def test_later_evidence_completes_what_lacked_it(mode: Mode, evidence: Evidence) -> None:
    failed = OutcomeState.VERIFICATION_FAILED

    assert completed(VerificationRules(mode), failed, "missing", Report(True, evidence=evidence)) == VALID
    assert completed(VerificationRules(mode), failed, "missing", Report(True, evidence=Evidence(summary="s"))) is None


@pytest.mark.parametrize("state", list(OutcomeState))
@pytest.mark.parametrize("validation", [None, "valid", "missing", "rejected"])
@pytest.mark.parametrize("mode", list(Mode))
def test_later_evidence_changes_nothing_else_least_of_all_a_person_s_rejection(
    state: OutcomeState, validation: str | None, mode: Mode
) -> None:
    lacking = state == OutcomeState.VERIFICATION_FAILED and validation == "missing" and mode in NEEDED

    assert completed(VerificationRules(mode), state, validation, Report(True, evidence=FULL)) == (
        VALID if lacking else None
    )


ACCEPTABLE = {"reported_success", "verification_pending"}
REJECTABLE = ACCEPTABLE | {"verified_success", "reported_failure"}


@pytest.mark.parametrize("state", [None, *OutcomeState])
@pytest.mark.parametrize("valid", [True, False], ids=["accepted", "rejected"])
def test_a_person_judges_what_can_still_be_judged(state: str | None, *, valid: bool) -> None:
    if state in (ACCEPTABLE if valid else REJECTABLE):
        expected = VALID if valid else Verification(OutcomeState.VERIFICATION_FAILED, "rejected")
        assert manual_verdict(state, valid=valid) == expected
    else:
        with pytest.raises(Refusal) as refused:
            manual_verdict(state, valid=valid)
        assert refused.value.code == "invalid_state"


@pytest.mark.parametrize(
    ("result", "error", "named"),
    [
        (2000, None, ()),
        (2001, None, ("result",)),
        (None, 2001, ("error",)),
        (5000, 5000, ("result", "error")),
        (None, None, ()),
    ],
)
def test_long_texts_are_cut_and_named(result: int | None, error: int | None, named: tuple[str, ...]) -> None:
    long = Report(success=True, result=result and "ü" * result, error=error and "ü" * error)

    cut = shortened(long)

    assert cut.truncated == named
    assert max(len(cut.result or ""), len(cut.error or "")) <= TEXT_KEPT


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)], ids=["at the limit", "a byte more"])
def test_metadata_and_artifacts_are_measured_as_json_in_utf_8(extra: int, *, fits: bool) -> None:
    def filled(limit: int, frame: int) -> str:
        return "ü" * ((limit - frame) // 2) + "x" * ((limit - frame) % 2 + extra)

    assert metadata_fits({"k": filled(METADATA_LIMIT, len('{"k": ""}'))}) is fits
    assert artifacts_fit([filled(ARTIFACTS_LIMIT, len('[""]'))]) is fits


@pytest.mark.parametrize(("depth", "fits"), [(100, True), (101, False), (3_000, False)])
def test_metadata_and_artifacts_are_nested_no_deeper_than_a_request(depth: int, *, fits: bool) -> None:
    value: object = 1
    for _ in range(depth - 1):
        value = [value]

    assert metadata_fits({"k": value}) is fits
    assert artifacts_fit([value]) is fits


def test_an_inline_report_that_is_nested_too_deep_counts_without_what_is() -> None:
    deep = "[" * 300 + "]" * 300

    inline = read_inline(f'{{"success": true, "metadata": {{"a": {deep}}}, "artifacts": {deep}}}'.encode())

    assert inline is not None
    assert (inline.report.success, inline.report.metadata, inline.report.evidence.artifacts) == (True, None, None)
    assert inline.dropped == ("metadata", "artifacts")


LARGEST = int(sys.float_info.max)
NUMBERS = {
    "a whole number of 400 digits": ("9" * 400, None),
    "a negative one": ("-" + "9" * 400, None),
    "one of 5,000 digits": ("9" * 5_000, None),
    "the largest double": (str(LARGEST), LARGEST),
    "the smallest one": (str(-LARGEST), -LARGEST),
    "one more": (str(LARGEST + 1), None),
    "with an exponent": ("1e400", None),
    "no number": ("NaN", None),
    "true": ("true", True),
}


@pytest.mark.parametrize(("written", "kept"), NUMBERS.values(), ids=NUMBERS)
def test_of_an_inline_report_no_number_beyond_a_double_is_kept_however_it_is_written(
    written: str, kept: object
) -> None:
    inline = read_inline(
        f'{{"success": true, "metadata": {{"n": {written}}}, "artifacts": [[{written}], {{"m": {written}}}]}}'.encode()
    )

    assert inline is not None
    assert inline.report.metadata == {"n": kept}
    assert inline.report.evidence.artifacts == [[kept], {"m": kept}]


@given(st.text(max_size=50))
def test_cleaned_text_can_be_stored_and_what_could_be_stored_is_left_alone(text: str) -> None:
    clean = clean_text(text)

    assert "\x00" not in clean
    clean.encode()
    storable = "\x00" not in text and not any(0xD800 <= ord(character) < 0xE000 for character in text)
    assert (clean == text) is storable


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "x\udfff\x00"])
def test_what_postgresql_cannot_hold_is_replaced(text: str) -> None:
    assert len(clean_text(text)) == len(text)
    assert clean_text(text) != text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("result", "error", "metadata", "artifacts", "retry", *EVIDENCE_LENGTHS)


@given(st.booleans(), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6))
def test_of_an_inline_report_what_is_valid_is_taken_and_what_is_not_is_named(
    success: bool, fields: dict[str, object]
) -> None:
    inline = read_inline(json.dumps({"success": success, **fields}).encode())

    assert inline is not None
    taken = {"result": inline.report.result, "error": inline.report.error, "metadata": inline.report.metadata}
    assert inline.report.success is success
    assert set(inline.dropped) <= {name for name, value in fields.items() if value is not None}
    assert all(taken[name] is None for name in taken if name in inline.dropped)
    json.dumps(inline.report.metadata, allow_nan=False).encode()
    json.dumps(inline.report.evidence.artifacts, allow_nan=False)


READABLE = {
    "cut within a character": b'{"success": false, "error": "cut \xe2\x82"}',
    "another encoding": '{"success": false, "error": "café"}'.encode("latin-1"),
    "UTF-16": '{"success": false, "error": "x"}'.encode("utf-16"),
    "UTF-32": '{"success": false, "error": "x"}'.encode("utf-32-le"),
    "the key at the end": b'{"error": "\xff\xfe", "success": false}',
    "the key twice, with one value": b'{"success": false, "error": "x", "success": false}',
    "a key below twice, with one text": b'{"success": false, "error": "x", "b": {"success": "no", "success": "no"}}',
    "the only one of a list": b'[{"success": false, "error": "x"}]',
    "below another object": b'{"data": {"success": false, "error": "x"}}',
    "one of many results": b'{"results": [{"success": true}, [{"success": false, "error": "x"}]]}',
    "one of a list": b'[{"success": true}, {"success": false, "error": "x"}]',
    "below a list, made a text of JSON once more": json.dumps('[[{"success": false, "error": "x"}]]').encode(),
    "a number of 5,000 digits": b'{"x": ' + b"9" * 5_000 + b', "success": false, "error": "x"}',
    "a number beyond a double": b'{"x": 1e999, "success": false, "error": "x"}',
    "no number": b'{"x": NaN, "success": false, "error": "x"}',
    "a lone surrogate": b'{"success": false, "error": "\\ud800"}',
    "a line break within a text": b'{"success": false, "error": "two\\nlines"}',
    "made a text of JSON once more": json.dumps('{"success": false, "error": "x"}').encode(),
}


@pytest.mark.parametrize("body", READABLE.values(), ids=READABLE.keys())
def test_a_failure_is_read_as_far_as_its_structure_can_be(body: bytes) -> None:
    inline = read_inline(body)

    assert inline is not None
    assert inline.report.success is False
    assert inline.report.error


UNREADABLE = {
    "the key twice, with different values": b'{"success": true, "success": false, "error": "x"}',
    "the key twice, with a value that is none": b'{"success": "no", "success": true}',
    "the key twice, as a truth and as a number": b'{"success": true, "success": 1}',
    "the key twice in a part": b'{"data": {"success": false, "success": true}}',
    "the key twice, in a text of JSON": json.dumps('{"success": false, "success": true}').encode(),
    "cut in the middle": b'{"success": false, "error": "out of pap',
    "cut before its end": b'{"success": false',
    "a comma too many": b'{"success": false,}',
    "a line break within a text": b'{"success": false, "error": "two\nlines"}',
    "text behind it": b'{"success": false} and more',
    "the notation of Python": b"{'success': False, 'error': None}",
    "the key at the end": b'{"error": "a "quoted" word", "success": false}',
    "nested too deep": b'{"x": ' + b"[" * 60_000 + b'], "success": false}',
    "after a byte order mark": b'\xef\xbb\xbf{"success": false, "error": ',
    "a success": b'{"success": true, "result": "do',
    "in UTF-16, cut": '{"success": false, "error": "x"'.encode("utf-16"),
    "in UTF-16 without a mark, cut": '{"success": false, "error": "x"'.encode("utf-16-be"),
    "in UTF-32, cut within a character": '{"success": false, "error": "x'.encode("utf-32")[:-1],
    "a line before it": b'Warning: x\n{"success": false}',
    "HTML before it": b'<br />\n<b>Notice</b>: x on line <b>3</b><br />\n{"success":false,"error":"x"}',
    "a list before it": b'[2026-03-04 05:06] done\n{"success": false}',
    "a comment before it": b'/* c */{"success":false,}',
    "a comment within it": b'{ // the work\n "success": false }',
    "a list that is cut": b'[{"success": false}',
    "an event": b'data: {"error": "x", "success": false}\n\n',
    "two objects": b'{"progress": 1}\n{"success": false}',
    "a call around it": b'callback({"success": false});',
    "the notation of JavaScript": b"{ success: false, error: 'x' }",
    "the notation of Ruby": b"{:success=>false}",
    "the notation of PHP": b"['x' => {'success' => false}]",
    "a text of JSON, cut": b'"{\\"success\\": false, \\"err',
    "the notation of Python, in a text of JSON": b"\"{'success': False}\"",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_names_success_and_is_no_json_is_no_silent_success(body: bytes) -> None:
    with pytest.raises(ReportUnreadable):
        read_inline(body)


NO_REPORTS = {
    "a success below": b'{"data": {"success": true}}',
    "a part of what is a success": b'{"data": {"success": true, "parts": [{"success": false, "error": "x"}]}}',
    "one of many results": b'[{"success": true}, {"success": true}]',
    "a text that says so": b'{"data": "success: false", "success_rate": false}',
    "no truth": b'{"success": "yes", "data": {"success": false}}',
    "no truth in a list": b'[{"success": null, "data": {"success": false}}]',
    "a number below": b'{"data": {"success": 0}}',
}


@pytest.mark.parametrize("body", NO_REPORTS.values(), ids=NO_REPORTS.keys())
def test_what_says_no_failure_and_no_success_of_its_own_is_no_report(body: bytes) -> None:
    assert read_inline(body) is None


@given(st.booleans(), st.lists(st.sampled_from([dict, list]), max_size=6), JSON)
def test_of_a_report_that_lies_deeper_a_failure_counts_and_a_success_does_not(
    success: bool, around: list[type], beside: object
) -> None:
    answer: object = {"success": success, "error": "x"}
    for kind in around:
        answer = {"data": answer, "beside": 1} if kind is dict else [1, answer]

    inline = read_inline(json.dumps(answer).encode())
    said = read_inline(json.dumps({"success": True, "data": answer, "beside": beside}).encode())

    assert (inline is not None) is (not success or not around)
    assert inline is None or (inline.report.success, inline.report.error) == (success, "x")
    assert said is not None
    assert said.report.success is True


@pytest.mark.parametrize(
    "body",
    [b"{" * 65_536, b'{"' * 32_000, b"{" + b"," * 65_000, b"{" + b"\\" * 65_000, b"{" + b", " * 32_000],
    ids=["braces", "quotes", "commas", "backslashes", "blanks"],
)
def test_an_answer_of_64_kib_is_looked_through_at_once(body: bytes) -> None:
    begun = time.process_time()

    assert read_inline(body) is None
    assert time.process_time() - begun < 1.0


@given(st.binary(max_size=100))
def test_no_answer_is_too_strange_to_be_no_report(body: bytes) -> None:
    try:
        inline = read_inline(body)
    except ReportUnreadable:
        return

    assert inline is None or isinstance(inline.report.success, bool)


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "with a byte order mark"])
def test_a_report_is_read_whatever_its_encoding_marks(start: str) -> None:
    inline = read_inline((start + '{"success": true, "result": "\\u0000 \\ud800"}').encode())

    assert inline is not None
    assert inline.report.result == "\ufffd ?"
