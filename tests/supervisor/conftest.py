"""What the kernel's tests share: the log lines, as the operator would see them."""

from collections.abc import Iterator

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.typing import EventDict


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    # Everywhere, since rendering tracebacks takes longer than all of these tests.
    with capture_logs(processors=[merge_contextvars]) as lines:
        yield lines
