"""What every list carries beside its rows."""

from typing import Annotated

from pydantic import BaseModel, Field


class Page(BaseModel):
    """One page of a list."""

    total: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        description="Rows under these filters on all pages, exact up to 10,000; null with `count=false`."
    )
    total_capped: bool | None = Field(default=None, description="`true` where there are more than 10,000 rows.")
    limit: Annotated[int, Field(ge=1, le=100)] = Field(description="Rows of a page, at most.")
    offset: Annotated[int, Field(ge=0, le=10_000)] = Field(description="Rows that were skipped.")
    has_more: bool = Field(description="Whether there are rows behind this page.")
