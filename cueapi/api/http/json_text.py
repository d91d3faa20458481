"""JSON as the contract takes it. What is checked beside the grammar costs no more than reading, whatever it holds."""

import gc
import json
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NoReturn

from cueapi.domain.errors import Refusal
from cueapi.domain.outcome import DEPTH_LIMIT, is_beyond_double

_TOO_LARGE = "The body holds a number that is beyond a double."
_TOO_DEEP = f"The body is nested more than {DEPTH_LIMIT} deep."

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_EXPONENT = re.compile(rb"[0-9][eE]")

_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""A bracket as a step down or up: 1, or -1 as a signed byte."""

_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_PIECE = 64 * 1024

_DIGITS = bytes(ord("0") if chr(one).isdecimal() else one for one in range(256))
_MANY_DIGITS = b"0" * 300


def parse(data: bytes) -> Any:  # noqa: ANN401 (JSON)
    """
    RFC 8259 JSON in UTF-8; a byte order mark is passed over. Of a repeated key the last counts.

    Refuses what the contract cannot carry.
    """
    try:
        with _uncollected():
            value = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Refusal("invalid_json", "The body is not UTF-8.") from None
    except RecursionError:
        raise Refusal("invalid_json", _TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise Refusal("invalid_json", f"The body is not JSON: {str(error)[:200]}") from None
    except ValueError:
        # Python reads no whole number of more than 4,300 digits.
        raise Refusal("invalid_json", _TOO_LARGE) from None
    if _is_deep(data):
        raise Refusal("invalid_json", _TOO_DEEP)
    if _is_suspect(data):
        _check(value)
    return value


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which would walk through all objects again and again while they are being made."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _is_deep(data: bytes) -> bool:
    """Whether JSON is nested too deep, without a step of the interpreter for each bracket, which would take long."""
    if data.count(b"[") + data.count(b"{") <= DEPTH_LIMIT:
        return False
    # What lies outside of texts is every other part between quotation marks, once those within texts are gone.
    outside = b"".join(data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    steps, depth = array("b", outside.translate(_STEPS, _NO_BRACKETS)), 0
    for begin in range(0, len(steps), _PIECE):
        depths = [*accumulate(steps[begin : begin + _PIECE], initial=depth)]
        if max(depths) > DEPTH_LIMIT:
            return True
        depth = depths[-1]
    return False


def _is_suspect(data: bytes) -> bool:
    """Whether it may hold what a double or PostgreSQL cannot: that can only be written with one of these."""
    return b"\\u" in data or _EXPONENT.search(data) is not None or _MANY_DIGITS in data.translate(_DIGITS)


def _check(value: object) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item)
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, int | float) and is_beyond_double(value):
        raise Refusal("invalid_json", _TOO_LARGE)


def _check_text(text: str) -> None:
    if _UNSTORABLE.search(text):
        raise Refusal("invalid_payload", "The body holds U+0000 or a lone surrogate, which cannot be stored.")


def _no_constant(name: str) -> NoReturn:
    raise Refusal("invalid_json", f"The body holds {name}, which is no JSON.")
