"""Bytes to and from a connected socket, with as few passes through the scheduler as can be."""

import socket

import trio
from attrs import frozen


@frozen(eq=False)
class DirectStream:
    """
    As trio.SocketStream, but what the socket takes at once does not let other tasks run first.

    Sending raises Cancelled before the first byte, or where it has to wait for room. To receive waits first:
    an answer is never there yet when its request has just gone out. The socket is another's to close.
    """

    _socket: socket.socket

    async def send_all(self, data: bytes) -> None:
        """Send all of *data*. Raises trio.BrokenResourceError."""
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)
            except OSError as error:
                raise trio.BrokenResourceError(f"nothing can be sent: {error}") from error

    async def receive_some(self, most: int) -> bytes:
        """At least one byte and at most so many, or none where the other side has ended. Raises BrokenResourceError."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(most)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(f"nothing can be received: {error}") from error
