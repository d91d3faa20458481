"""Handles two executions in the client's block that reports by itself: one does its work, one raises."""

from asked import asked, client, tell

with client() as api:
    with api.executions.handle(asked["works"], {"records": 3}) as context:
        context.result = f"Processed {context.payload['records']} records"
        context.evidence = {"external_id": "batch-3", "summary": "All of them"}

    escaped = ""
    try:
        with api.executions.handle(asked["raises"]):
            raise OSError("No space left on device")
    except OSError as error:
        escaped = str(error)

tell({"escaped": escaped})
