"""The clients that are connected: how many may be, and which idle connection makes room for a new one."""

from collections import Counter

import trio
from attrs import define, field

from cueapi.api.http.rate_limits import Networks, client_network, is_trusted

SETTLED = 1.0
"""Seconds after which an idle connection may have to make room: a new one's request is on its way."""


@define(eq=False)
class Connections:
    """
    At most *most* connections in all, and *most_per_address* from one address (of IPv6: from one /64).

    A trusted proxy stands for many clients: its connections count in all only. Where there is no room, the connection
    that has been idle longest is closed: silent ones keep no client out.
    """

    most: int
    most_per_address: int
    proxies: Networks = ()
    _open: dict[trio.SocketStream, str] = field(init=False, factory=dict)
    """By whose they are; "" where they count in all only."""
    _by_address: Counter[str] = field(init=False, factory=Counter)
    _idle: dict[trio.SocketStream, float] = field(init=False, factory=dict)
    """Since when; the first has been idle longest."""

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, stream: trio.SocketStream) -> bool:
        """Count a new connection; False where there is no room for it. Raises OSError where its client is gone."""
        peer = str(stream.socket.getpeername()[0])
        address = "" if is_trusted(peer, self.proxies) else client_network(peer)
        of_address = bool(address) and self._by_address[address] >= self.most_per_address
        if of_address and not self.make_room(address):
            return False
        if len(self._open) >= self.most and not self.make_room():
            return False
        self._open[stream] = address
        self._by_address[address] += 1
        return True

    def mark(self, stream: trio.SocketStream, idle: bool) -> None:
        """The connection waits for a request from now on, or has one."""
        self._idle.pop(stream, None)
        if idle and stream in self._open:
            self._idle[stream] = trio.current_time()

    def leave(self, stream: trio.SocketStream) -> None:
        """The connection has ended."""
        self._idle.pop(stream, None)
        address = self._open.pop(stream, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def make_room(self, address: str | None = None) -> bool:
        """Close the connection (of *address*, where one is given) that has been idle longest; False if none has."""
        settled = trio.current_time() - SETTLED
        for stream, since in self._idle.items():
            if since > settled:
                break
            if address in {None, self._open[stream]}:
                self.leave(stream)
                stream.socket.close()
                return True
        return False
