"""Reports of handlers, their evidence, and how they are verified."""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from sys import float_info
from typing import Any

from attrs import evolve, frozen

from cueapi.domain.assertion import Facts

TEXT_KEPT = 2_000
"""Characters of `result` and `error` that are kept."""
METADATA_LIMIT = 10 * 1024
ARTIFACTS_LIMIT = 64 * 1024

DEPTH_LIMIT = 100
"""How deep JSON may be nested, in a request as in what is kept of a handler's answer."""
EVIDENCE_LENGTHS = {
    "external_id": 500,
    "result_url": 2_000,
    "result_ref": 500,
    "result_type": 100,
    "summary": 500,
}


class Mode(StrEnum):
    """How a success report is verified."""

    NONE = "none"
    EXTERNAL_ID = "require_external_id"
    RESULT_URL = "require_result_url"
    ARTIFACTS = "require_artifacts"
    MANUAL = "manual"


class OutcomeState(StrEnum):
    """Whether an outcome is reported, verified, or waits for verification."""

    REPORTED_SUCCESS = "reported_success"
    REPORTED_FAILURE = "reported_failure"
    VERIFIED_SUCCESS = "verified_success"
    VERIFICATION_FAILED = "verification_failed"
    VERIFICATION_PENDING = "verification_pending"


@frozen
class Evidence:
    """What proves the work; empty strings and lists are missing."""

    external_id: str | None = None
    result_url: str | None = None
    result_ref: str | None = None
    result_type: str | None = None
    summary: str | None = None
    artifacts: list[Any] | None = None


@frozen
class Report:
    """A handler's report on one attempt."""

    success: bool
    result: str | None = None
    error: str | None = None
    metadata: dict[str, Any] | None = None
    evidence: Evidence = Evidence()
    retry: bool = True
    truncated: tuple[str, ...] = ()
    whole_length: int | None = None
    """Characters of a *result* that was cut."""

    def facts(self, duration_ms: int | None) -> Facts:
        """What assertions may ask for."""
        evidence = self.evidence
        length = None if self.result is None else len(self.result)
        return {
            "metadata": self.metadata,
            "duration_ms": duration_ms,
            "artifacts.count": len(evidence.artifacts) if evidence.artifacts else None,
            "result.length": self.whole_length or length,
            "external_id": evidence.external_id or None,
            "result_url": evidence.result_url or None,
            "summary": evidence.summary or None,
        }


def shortened(report: Report) -> Report:
    """The report with *result* and *error* cut to what is kept; what was cut is named."""
    long = tuple(name for name in ("result", "error") if len(getattr(report, name) or "") > TEXT_KEPT)
    if not long:
        return report
    return evolve(
        report,
        result=report.result and report.result[:TEXT_KEPT],
        error=report.error and report.error[:TEXT_KEPT],
        truncated=long,
        whole_length=len(report.result or "") if "result" in long else None,
    )


def is_beyond_double(number: float) -> bool:
    """Whether the contract's JSON cannot carry it: many readers take each number for a double."""
    return not -float_info.max <= number <= float_info.max


def decoded_text(data: bytes) -> str:
    """What came as UTF-8, UTF-16 or UTF-32, with or without a byte order mark; other bytes are read as U+FFFD."""
    return data.decode(json.detect_encoding(data), "replace").removeprefix("\ufeff")


def clean_text(text: str) -> str:
    """*text* as PostgreSQL can hold it: no U+0000, no lone surrogate."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def metadata_fits(metadata: Mapping[str, Any]) -> bool:
    """True where the metadata is within its limits: size, as JSON in UTF-8, and depth."""
    return _is_shallow(metadata) and _size(metadata) <= METADATA_LIMIT


def artifacts_fit(artifacts: list[Any]) -> bool:
    """Likewise for artifacts."""
    return _is_shallow(artifacts) and _size(artifacts) <= ARTIFACTS_LIMIT


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _is_shallow(value: object, most: int = DEPTH_LIMIT) -> bool:
    match value:
        case dict():
            return most > 0 and all(_is_shallow(item, most - 1) for item in value.values())
        case list():
            return most > 0 and all(_is_shallow(item, most - 1) for item in value)
        case _:
            return True


@frozen
class Inline:
    """A report read from a handler's answer, and the fields of it that had to be dropped."""

    report: Report
    dropped: tuple[str, ...] = ()


class ReportUnreadable(Exception):
    """
    An answer holds an object that names `success` as true or false, and cannot be read: the work may have failed.

    It is no JSON, or an object in it names `success` twice with different values.
    """


def read_inline(body: bytes) -> Inline | None:
    """
    The report in an answer: a JSON object whose `success` is true or false; None for anything else.

    A text that was cut within a character is read all the same, and so is a report that was made a JSON text once more,
    and the only one of a list. Where the answer itself does not name `success`, an object in it that says false counts.
    Raises ReportUnreadable for what names `success` in an object and whose structure cannot be read.
    """
    text = decoded_text(body)
    try:
        answer = _parsed(text)
        if isinstance(answer, str):
            text, answer = answer, _parsed(answer)
        answer = _cleaned(answer)
    except (ValueError, RecursionError) as error:
        if isinstance(error, _SuccessTwice) or _names_success(text):
            raise ReportUnreadable(str(error)[:200] or "nested too deep") from None
        return None
    told = _report_in(answer)
    return None if told is None else _inline(told)


def names_success_twice(data: str) -> bool:
    """Whether an object of a JSON text names `success` twice with different values, so that either could be meant."""
    try:
        json.loads(data, object_pairs_hook=_with_one_success)
    except _SuccessTwice:
        return True
    return False


def _report_in(answer: object) -> dict[str, Any] | None:
    """The object in an answer that is the report; None where there is none."""
    only: object = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    if isinstance(only, dict) and "success" in only:
        return only if isinstance(only["success"], bool) else None
    # The first in the order of the text. Without recursion, which an answer could exhaust.
    waiting: list[Any] = [answer]
    while waiting:
        match waiting.pop():
            case {"success": bool(success)} as told:
                # What lies below it is a part of what it speaks of.
                if not success:
                    return dict(told)
            case dict() as below:
                waiting.extend(reversed(below.values()))
            case list() as below:
                waiting.extend(reversed(below))
    return None


def _inline(answer: dict[str, Any]) -> Inline:
    """A report with those of its fields that are valid."""
    kept = {name: value for name, value in answer.items() if _inline_field_valid(name, value)}
    fields = (*_INLINE_TEXTS, "metadata", *EVIDENCE_LENGTHS, "artifacts", "retry")
    dropped = tuple(name for name in fields if answer.get(name) is not None and name not in kept)
    evidence = Evidence(
        **{name: kept[name] for name in EVIDENCE_LENGTHS if kept.get(name)},
        artifacts=kept.get("artifacts") or None,
    )
    report = Report(
        success=answer["success"],
        result=kept.get("result"),
        error=kept.get("error"),
        metadata=kept.get("metadata"),
        evidence=evidence,
        retry=kept.get("retry", True),
    )
    return Inline(shortened(report), dropped)


_INLINE_TEXTS = ("result", "error")

# In JSON or in the notation of another language, at whichever place of the object the key stands.
_KEY_OF_REPORT = re.compile(r"""(?i)(?:["']|[{,]\s*:?)success\\*["']?\s*(?::|=>?)\s*(?:true|false)\b""")

_PAGE = re.compile(r"(?i)\s*<(?:!doctype|html)\b")
"""A whole page of HTML: what its scripts hold is no report."""


def _names_success(text: str) -> bool:
    begin = text.find("{")
    return begin >= 0 and _KEY_OF_REPORT.search(text, begin) is not None and _PAGE.match(text) is None


_MOST_DIGITS = 4_300
"""Of a whole number, as Python reads it."""


class _SuccessTwice(ValueError):
    """An object names `success` twice with different values."""

    def __init__(self) -> None:
        super().__init__("an object names success twice, with different values")


def _with_one_success(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, which may repeat any other key: the last counts. Raises _SuccessTwice."""
    found = dict(pairs)
    told = found.get("success")
    # To Python 1 equals True.
    if any(name == "success" and (type(value) is not type(told) or value != told) for name, value in pairs):
        raise _SuccessTwice
    return found


def _parsed(text: str) -> Any:  # noqa: ANN401 (JSON)
    """RFC 8259 JSON; numbers beyond a double are read as infinite. Raises ValueError; _SuccessTwice is one."""
    return json.loads(
        text,
        parse_int=lambda digits: int(digits) if len(digits) < _MOST_DIGITS else float(digits),
        object_pairs_hook=_with_one_success if text.count("success") > 1 else None,
    )


def _inline_field_valid(name: str, value: object) -> bool:
    match value:
        case str():
            return name in _INLINE_TEXTS or len(value) <= EVIDENCE_LENGTHS.get(name, -1)
        case dict():
            return name == "metadata" and metadata_fits(value)
        case list():
            return name == "artifacts" and artifacts_fit(value)
        case bool():
            return name == "retry"
        case _:
            return False


def _cleaned(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """*value* with each text and number in it as PostgreSQL and the contract's JSON can hold it."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, int | float) and is_beyond_double(value):
        return None
    return value
