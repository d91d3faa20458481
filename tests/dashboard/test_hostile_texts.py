"""Whatever a user, a handler or a worker has written: it is text, it stays in its place, and it is no link."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from cueapi.dashboard.texts import readable_json, visible, web_link
from cueapi.storage.database import Database
from tests.dashboard.browsing import Browser
from tests.dashboard.test_alerts_workers import add_alert
from tests.storage.rows import add_cue, add_execution, ago, insert

MARKUP = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>",
    "</title><script>x</script>", "\"><script>x</script>", "' onmouseover='x", "\" autofocus onfocus=\"x",
    "</td></tr></table><h1>x</h1>", "<!--", "-->", "<![CDATA[", "</textarea><b>", "</pre><i>",
    "<style>*{display:none}</style>", "<base href=//evil>", "<meta http-equiv=refresh>",
    "<iframe srcdoc='<script>'>", "<form action=//evil><button>", "<a href=javascript:x>", "&lt;b&gt;",
    "&#60;b&#62;", "&amp;lt;", "{{ 7 * 7 }}", "{% raw %}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "]]>",
    "<math><mtext></form>", "<template><s>",
)  # fmt: skip
ADDRESSES = (
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:x", "\tjavascript:x", "java\nscript:x",
    "data:text/html,<b>", "vbscript:x", "file:///etc/passwd", "//evil.example/x", "\\\\evil\\x", "http:evil",
    "https://", "blob:https://x/y", "http://[::1", "https:///x", "ftp://evil.example", "mailto:x@evil.example",
    "view-source:https://x", "about:blank",
)  # fmt: skip
HIDDEN = (
    "a\u202eb", "\u2066x\u2069", "\u200fx", "\u200bx", "x\ufeff", "a\u2060b", "\u061cx", "\u00adx", "x\x07",
    "x\x1b[31m", "x\x85y", "a\u2028b",
)  # fmt: skip
HOSTILE = (*MARKUP, *ADDRESSES, *HIDDEN)

TEXTS = (
    "response_body", "error_message", "task", "outcome_result", "outcome_error", "external_id", "result_url",
    "result_ref", "result_type", "summary", "claimed_by_worker",
)  # fmt: skip
"""Columns of an execution that hold what others have written."""

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

NOT_DRAWN = re.compile(r'<input type="hidden"[^>]*>')
"""What a form sends back just as it is."""


class Shapes(HTMLParser):
    """The elements of a page, with the names of their attributes; and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.shapes: set[tuple[str, tuple[str, ...]]] = set()
        self.links: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shapes.add((tag, tuple(sorted(name for name, _ in attrs))))
        if tag == "a":
            self.links.append(dict(attrs))


async def add_all(database: Database, user: int, text: str, number: int) -> list[str]:
    """One of everything whose texts are *text*; the paths of the pages about it alone."""
    cue_id = await add_cue(
        database, user, name=f"{text} {number}", callback_url=text, callback_host=text, warning=text,
        callback_headers=json.dumps({"X-Say": text}), consecutive_failures=1, description=text,
        payload=json.dumps({text: [text]}), status_changed_at=ago(), status_change_reason=text,
        status_changed_by=json.dumps({"kind": "key", "id": text, "name": text}),
    )  # fmt: skip
    told = {"user_id": user, "actor_kind": "key", "actor_id": text, "actor_name": text, "action": "cue.updated"}
    told |= {"subject_kind": "cue", "subject_id": cue_id, "subject_name": text, "reason": text, "address": text}
    told |= {"changes": json.dumps([{"path": text, "from": text, "to": [text]}])}
    await database.execute(insert("audit", told), *told.values())
    written: dict[str, Any] = dict.fromkeys(TEXTS, text)
    written |= dict.fromkeys(("payload", "outcome_metadata"), json.dumps({text: [text]}))
    written |= {"artifacts": json.dumps([text]), "outcome_attempt": 1, "outcome_success": False}
    written |= {"outcome_state": "reported_failure", "outcome_recorded_at": ago(), "attempts": 1, "http_status": 500}
    written |= {"status": "failed", "finished_at": ago(), "started_at": ago(), "last_attempt_at": ago()}
    execution = await add_execution(database, cue_id, **written)
    await database.execute(
        "insert into attempts"
        " (execution_id, attempt, started_at, duration_ms, http_status, error, outcome, response_body)"
        " values ($1, 1, now(), 5, 500, $2, 'failed', left($2, 2000))",
        execution, text,
    )  # fmt: skip
    await add_alert(database, user, cue_id=cue_id, execution_id=execution, message=text)
    await database.execute(
        "insert into workers (user_id, worker_id, handlers) values ($1, left($2, 200) || $3::text, array[$2])",
        user, text, str(number),
    )  # fmt: skip
    return [f"/ui/executions/{execution}", f"/ui/cues/{cue_id}"]


LISTS = ["/ui", "/ui/cues", "/ui/executions", "/ui/alerts", "/ui/workers", "/ui/account/audit"]


async def test_hostile_texts_are_inert_on_every_page(person: Browser, database: Database, user: int) -> None:
    own = await add_all(database, user, "benign", 0)
    known = set().union(*[Shapes((await person.get(path)).text).shapes for path in [*LISTS, *own]])
    known.add(("a", ("class", "href", "rel")))  # to the next page

    for number, text in enumerate(HOSTILE, 1):
        own += await add_all(database, user, text, number)
    pages = [(path, await person.get(path)) for path in [*LISTS, *own]]

    assert len(HOSTILE) >= 60
    assert {page.status_code for _, page in pages} == {200}
    for path, page in pages:
        found = Shapes(page.text)
        assert found.shapes <= known, path
        assert not UNSEEN.search(NOT_DRAWN.sub("", page.text)), path
        outward = [link for link in found.links if not (link["href"] or "").startswith(("/ui", "#main"))]
        assert outward == [], path


async def test_a_link_outward_is_http_and_takes_nothing_along(person: Browser, database: Database, user: int) -> None:
    paths = await add_all(database, user, "https://docs.example.com/a?b=c&d", 0)

    links = [link for path in paths for link in Shapes((await person.get(path)).text).links]

    outward = [link for link in links if (link["href"] or "").startswith("http")]
    assert {link["href"] for link in outward} == {"https://docs.example.com/a?b=c&d"}
    assert {link["rel"] for link in outward} == {"noopener noreferrer nofollow"}


async def test_texts_of_a_megabyte_do_not_become_pages_of_a_megabyte(
    person: Browser, database: Database, user: int
) -> None:
    huge = "<b>" * 350_000
    cue_id = await add_cue(database, user, consecutive_failures=1, warning=huge, payload=json.dumps({"x": huge}))
    await add_cue(database, user, status="failed", warning=huge)
    texts = ("error_message", "outcome_result", "outcome_error", "summary", "external_id", "result_url", "result_ref")
    execution = await add_execution(
        database, cue_id, status="failed", attempts=1, finished_at=ago(), outcome_attempt=1, outcome_recorded_at=ago(),
        outcome_success=False, outcome_state="reported_failure", **dict.fromkeys(texts, huge),
        payload=json.dumps({"x": huge}), outcome_metadata=json.dumps({"x": huge}), artifacts=json.dumps([huge]),
    )  # fmt: skip
    await database.execute(
        "insert into attempts (execution_id, attempt, started_at, error) values ($1, 1, now(), $2)", execution, huge
    )
    await add_alert(database, user, cue_id=cue_id, execution_id=execution, message=huge)
    await database.execute("insert into workers (user_id, worker_id, handlers) values ($1, 'w', array[$2])", user, huge)

    sizes = {path: len((await person.get(path)).content) for path in [*LISTS, f"/ui/executions/{execution}"]}
    payload = len((await person.get(f"/ui/cues/{cue_id}")).content)

    # Of payload, artifacts and metadata 64 KiB each are shown, in which each `<b>` takes nine characters.
    assert sizes.pop(f"/ui/executions/{execution}") < 800_000
    assert payload < 300_000
    assert max(sizes.values()) < 60_000


@pytest.mark.parametrize("address", ADDRESSES, ids=ascii)
def test_no_such_address_is_a_link(address: str) -> None:
    assert web_link(address) is None


def test_a_web_address_is_a_link() -> None:
    for address in ("http://a.example", "HTTPS://a.example:8443/b?c#d", "https://user@a.example/größe"):
        assert web_link(address) == address


def test_what_cannot_be_seen_is_spelled_out_and_letters_of_all_languages_stay() -> None:
    plain = "größe 日本 שלום 👩‍💻 \t\n"

    assert visible("a\u202eb\u200b\x00") == "a⟨U+202E⟩b⟨U+200B⟩⟨U+0000⟩"
    assert visible(plain) == plain


@pytest.mark.parametrize(
    "value",
    [{}, [], "x", 1, {"a": {}}, {"a": []}, [[], {}], {"a": [1, {"b": None}], "c": "[{,:}]\\\"\n"}, [[[1]]], [{"a": 1}]],
    ids=ascii,
)  # fmt: skip
def test_json_is_laid_out_as_python_does_it(value: object) -> None:
    assert readable_json(json.dumps(value)) == json.dumps(value, indent=2)


def test_json_keeps_its_numbers_and_shows_letters_but_nothing_hidden() -> None:
    text = (
        '{"n": 12345678901234567890.10e400, "s": "gr\\u00f6\\u00dfe \\ud83d\\ude00 \\u202e \\ud800 \\\\u0041 \\u0022"}'
    )

    shown = readable_json(text)

    assert '"n": 12345678901234567890.10e400' in shown
    assert '"s": "größe 😀 \\u202e \\ud800 \\\\u0041 \\u0022"' in shown
    assert json.loads(shown) == json.loads(text)
