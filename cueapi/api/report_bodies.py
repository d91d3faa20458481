"""Reports in whichever form a handler can write: JSON, an HTML form, or plain text."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from quart import request

from cueapi.api.http.body import read_bytes
from cueapi.api.http.json_text import parse
from cueapi.api.http.off_loop import off_loop
from cueapi.api.http.operations import FORM
from cueapi.api.outcome_writing import SAID_TWICE, report_in
from cueapi.domain.errors import Invalid, Problem
from cueapi.domain.outcome import Report, clean_text, decoded_text, shortened

FIELDS_LIMIT = 20
"""Fields of a form."""


async def read_report() -> Report:
    """
    The report in the body.

    What begins with `{` is JSON whatever its Content-Type says, and so is what says that it is. Any other text is the
    `result` of work that was done, but for a form, whose fields have names. Refuses a text that names `success` as true
    or false: it is a report that cannot be read, and may be one of a failure.
    """
    return await off_loop(_report_in, await read_bytes(), request.mimetype)


async def read_text() -> str | None:
    """The body as text; None where it is empty."""
    return await off_loop(_text_of, await read_bytes()) or None


def _report_in(data: bytes, mimetype: str) -> Report:
    text = _text_of(data)
    if not json.detect_encoding(data).startswith("utf-8"):
        data = text.encode()
    if not text or text.startswith("{") or mimetype == "application/json" or mimetype.endswith("+json"):
        return report_in(data)
    # What curl sends as a form, when it is told no type, may be any text.
    if mimetype == FORM and _IS_FORM.match(text):
        return report_in(json.dumps(_fields_of(text)).encode())
    if _NAMES_SUCCESS.search(text) or _NAMES_SUCCESS.search(unquote_plus(text)):
        raise Invalid(Problem("body", _UNREADABLE))
    return shortened(Report(success=True, result=text))


def _text_of(data: bytes) -> str:
    """The body without white space around it, as PostgreSQL can hold it."""
    return clean_text(decoded_text(data)).strip()


def _fields_of(text: str) -> dict[str, Any]:
    """The fields of a form, as JSON has them."""
    try:
        given = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_LIMIT)
    except ValueError:
        raise Invalid(Problem("body", f"may have {FIELDS_LIMIT} fields")) from None
    if len({_boolean(value) for name, value in given if name == "success"}) > 1:
        raise Invalid(SAID_TWICE)
    return {name: _READ.get(name, str)(value) for name, value in dict(given).items()}


def _boolean(text: str) -> bool | str:
    return _BOOLEANS.get(text.strip().lower(), text)


def _json(text: str) -> object:
    return parse(text.encode())


_IS_FORM = re.compile(r"[A-Za-z_]+=")

# In any notation, or as a field of a form that is not said to be one.
_NAMES_SUCCESS = re.compile(
    r"""(?i)(?<!\w)success\\*["']?\s{0,9}(?::|=>?|>)\s{0,9}(?:true|false)\b|(?:\A|&)success=(?:[01]|yes|no|on|off)(?:&|\Z)"""
)

_UNREADABLE = (
    f"names `success` as true or false, and is no report that can be read: send a JSON object, a form ({FORM}), "
    "or a text to the report URL's /success or /fail"
)

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

_READ = {"success": _boolean, "retry": _boolean, "metadata": _json, "artifacts": _json}
"""How the fields that are no texts are read."""
