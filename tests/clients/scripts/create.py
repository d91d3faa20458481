"""Creates a cue of every kind that the client has; tells each as the client shows it, by name."""

from datetime import datetime, timedelta, timezone

from asked import asked, client, tell

from cueapi import CuePayload

NINE = datetime(2091, 5, 1, 9)
PAYLOAD = (
    CuePayload()
    .task("morning-brief")
    .kind("content_generation")
    .instruction("Grüße an alle")
    .context_ref("memory-7")
    .context_mode("summary")
    .agent("socrates")
    .extra("pages", 3)
)

with client() as api:
    cues = [
        api.cues.create(
            "recurring",
            cron="0 9 * * 1-5",
            timezone="Europe/Berlin",
            callback=asked["url"],
            callback_method="PUT",
            callback_headers={"X-Team": "ops"},
            payload=PAYLOAD.build(),
            description="Every morning",
            retry={"max_attempts": 2, "backoff_minutes": [7]},
            on_failure={"email": False, "webhook": asked["url"], "pause": True},
        ),
        api.cues.create("as text", at="2091-05-01T09:00:00", timezone="America/New_York", callback=asked["url"]),
        api.cues.create("naive", at=NINE, timezone="Asia/Tokyo", callback=asked["url"]),
        api.cues.create("aware", at=NINE.replace(tzinfo=timezone(timedelta(hours=2))), callback=asked["url"]),
        api.cues.create("pulled", cron="@daily", transport="worker"),
    ]

tell({cue.name: cue.model_dump(mode="json") for cue in cues})
