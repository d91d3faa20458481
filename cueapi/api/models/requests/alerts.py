"""Bodies about alerts."""

from typing import Annotated

from pydantic import Field

from cueapi.api.models.requests.bodies import Closed, Short


class AlertIds(Closed):
    """Alerts to acknowledge."""

    ids: Annotated[list[Short], Field(min_length=1, max_length=100)] = Field(description="Ids of 1 to 100 alerts.")
