"""An answer that shows a key, a token or a secret is kept by nothing on its way."""

from collections.abc import Iterator
from typing import Any

import trio

from tests.conftest import Api, cue

SECRET = {"api_key", "session_token", "webhook_secret", "alert_webhook_secret", "headers"}
"""Fields that are secret, or may hold a secret of the user's: the headers of a callback."""


def fields(schema: dict[str, Any], models: dict[str, Any]) -> Iterator[str]:
    """The names of all fields below a schema."""
    if "$ref" in schema:
        schema = models[schema["$ref"].rpartition("/")[2]]
    yield from schema.get("properties", {})
    items = [schema["items"]] if "items" in schema else []
    for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *items):
        yield from fields(part, models)


def secret_routes(document: dict[str, Any]) -> set[tuple[str, str]]:
    """The routes whose answers have a field that is secret."""
    models = document["components"]["schemas"]
    return {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        for status, answer in told["responses"].items()
        for content in answer.get("content", {}).values()
        if status[0] == "2" and SECRET & {*fields(content["schema"], models)}
    }


async def test_every_route_whose_answer_has_a_secret_says_that_it_must_not_be_stored(api: Api) -> None:
    with trio.fail_after(30):
        routes = secret_routes(await api.get("/openapi.json"))
        answered = {
            (method, path): await api.ask(method, path.replace("{cue_id}", "cue_000000000000"), {})
            for method, path in sorted(routes)
        }
        public = await api.ask("GET", "/v1/usage")

    stored = {route for route, response in answered.items() if response.headers.get("Cache-Control") != "no-store"}
    assert stored == set()
    assert len(answered) >= 14
    assert "Cache-Control" not in public.headers


async def test_what_is_shown_is_not_stored_where_it_is_shown(api: Api) -> None:
    with trio.fail_after(20):
        shown = [
            await api.ask("GET", "/v1/auth/key"),
            await api.ask("GET", "/v1/auth/me"),
            await api.ask("GET", "/v1/channels"),
            await api.ask("GET", f"/v1/echo/{'x' * 32}"),
            await api.ask("GET", "/v1/auth/webhook-secret"),
            await api.ask("POST", "/v1/cues", cue(), Idempotency_Key="once"),
            await api.ask("POST", "/v1/auth/register", {"email": "other@example.com"}),
        ]

    assert [one.status_code for one in shown] == [200, 200, 200, 200, 200, 201, 201]
    assert {one.headers["Cache-Control"] for one in shown} == {"no-store"}
