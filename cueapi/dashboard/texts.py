"""Texts of others, made fit to be read: nothing in them can hide or turn what stands beside it."""

import json
import re
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

# Controls but tab and line feed, marks and overrides of direction (UAX 9), blanks without width.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)

_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?|.)")


def visible(text: object) -> str:
    """*text*, with what cannot be seen, or turns the direction of what follows, spelled out: `⟨U+202E⟩`."""
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", str(text))


def host(text: str | None) -> str:
    """A host without the port that goes without saying: `agent.example.com` for `agent.example.com:443`."""
    return (text or "").removesuffix(":443").removesuffix(":80")


def web_link(url: str | None) -> str | None:
    """*url* where it may be a link, which is http or https with a host; else None."""
    if not url or visible(url) != url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in {"http", "https"} and parts.hostname else None


def typed_json(text: str) -> Any:  # noqa: ANN401 (JSON)
    """JSON that was typed into a form. Raises ValueError, with what is wrong with it, where the contract takes none."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except ValueError:
        # Also a whole number of more digits than Python reads.
        raise ValueError("holds a number that is beyond a double") from None


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError
    return number


def readable_json(text: str) -> str:
    """JSON with lines and indents. Numbers stay as they are written, and letters that are escaped are shown."""
    lines, depth, line = [], 0, ""
    tokens = _JSON.findall(text)
    for at, token in enumerate(tokens):
        if token in "{[" and tokens[at + 1 : at + 2] != [_CLOSING[token]]:
            depth += 1
            lines.append(line + token)
            line = "  " * depth
        elif token in "}]" and line.strip() not in {"{", "["} and tokens[at - 1] not in "{[":
            depth -= 1
            lines.append(line)
            line = "  " * depth + token
        elif token == ",":
            lines.append(line + token)
            line = "  " * depth
        else:
            line += f"{token} " if token == ":" else _letters(token)
    return "\n".join(one for one in [*lines, line] if one.strip())


_CLOSING = {"{": "}", "[": "]"}


def _letters(token: str) -> str:
    """A string with its escaped letters as letters; what has no shape of its own stays escaped."""
    return _ESCAPE.sub(_letter, token) if token.startswith('"') else token


def _letter(found: re.Match[str]) -> str:
    if found[1] is None:
        return found[0]
    try:
        letter: str = json.loads(f'"{found[0]}"')
        letter.encode()
    except ValueError:
        return found[0]
    return letter if letter.isprintable() and letter not in '"\\' and visible(letter) == letter else found[0]
