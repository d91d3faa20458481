"""The socket that is listened on: what cannot be is told in one line."""

import pytest

from cueapi.api.http.listening import CannotListen, bind


@pytest.mark.parametrize("host", ["a..b", "x" * 80, "256.0.0.1"])
def test_a_host_that_cannot_be_listened_on_is_told_in_one_line(host: str) -> None:
    with pytest.raises(CannotListen, match=rf"^Cannot listen on {host} port 0: .*\. HOST and PORT choose another"):
        bind(host, 0)
