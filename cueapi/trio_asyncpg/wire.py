"""
What asyncpg takes for its future, its event loop and its transport.

asyncpg's compiled protocol never touches a socket: bytes in, futures done, bytes out. Here that future is a
`Waiter`, and awaiting it does the I/O on the `Wire`, in the task that waits: no loop, and no task beside.
"""

import os
import select
import socket
import struct
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, NoReturn, TypeAlias

import asyncpg
import trio
from asyncpg.connect_utils import _ConnectionParameters
from asyncpg.protocol import Protocol

from cueapi.trio_asyncpg.route import Address, Route, Stream, socket_of

CLEANUP_PATIENCE = 2.0  # seconds that leaving a server may take, in whatever way
CANCEL_AGAIN = 0.25  # seconds after which a query that still runs is cancelled once more
READ_SIZE = 65536

CANCEL_REQUEST = 80877102
TERMINATE = b"X\0\0\0\4"

Foreign: TypeAlias = Any  # what asyncpg's stubs say nothing about


class Waiter:
    """The future that asyncpg awaits. Awaiting it does the I/O that gets it done."""

    __slots__ = ("_done", "_error", "_result", "_wire")

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire
        self._done = False
        self._result: object = None
        self._error: BaseException | None = None

    def __await__(self) -> Generator[Any, Any, object]:
        if not self._done:
            yield from self._wire.run_until(self.done).__await__()
        return self.result()

    def result(self) -> object:
        if self._error is not None:
            raise self._error
        return self._result

    def set_result(self, result: object) -> None:
        self._result, self._done = result, True

    def set_exception(self, error: BaseException) -> None:
        self._error, self._done = error, True

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return False  # Trio cancels the task that waits, and that ends the connection

    def add_done_callback(self, callback: object) -> None:
        """Nothing to call: asyncpg's own callback ends its timeouts and cancellations, and here are none."""


class Wire:
    """What asyncpg takes for its event loop and its transport: one stream, driven by the task that waits."""

    def __init__(self, stream: Stream, route: Route) -> None:
        self._stream = stream
        self._socket = socket_of(stream)
        self._route = route
        self._plain = isinstance(stream, trio.SocketStream)
        self._out = bytearray()
        self._ear = select.poll()
        self._ear.register(self._socket.fileno(), select.POLLIN)
        self._protocol: Foreign = None

    async def greet(self, address: Address, parameters: _ConnectionParameters) -> Foreign:
        """Log in, and return the protocol that speaks through this wire from now on."""
        greeted = self.create_future()
        self._protocol = Protocol(address, greeted, parameters, asyncpg.Record, self)
        try:
            self._route = self._route.pinned_to(self._socket)
            self._protocol.connection_made(self)
            await greeted
        except BaseException:
            self.abort()
            raise
        return self._protocol

    async def run_until(self, done: Callable[[], bool]) -> None:
        """Talk until *done*. Cut off in the middle, the connection is of no more use."""
        try:
            await self._talk_until(done)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._lose(error)  # which gets the waiter done, with asyncpg's own error
        except BaseException:
            await self._break_off()
            raise

    async def overhear(self, heard: Callable[[], bool]) -> None:
        """Talk until *heard*. Nothing was asked, so being cut off does no harm."""
        try:
            await self._talk_until(heard)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._lose(error)
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost") from error

    async def take_leave(self) -> None:
        """Say goodbye and wait until the server has hung up: its backend is gone then."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_all(TERMINATE)
            while await self._stream.receive_some(READ_SIZE):
                pass

    async def cancel_query(self) -> None:
        """Ask the server, on a connection of its own, to cancel what is running on this one."""
        key = self._protocol.backend_pid, self._protocol.backend_secret
        stream = await self._route.dial()
        try:
            await stream.send_all(struct.pack("!llll", 16, CANCEL_REQUEST, *key))
            with suppress(trio.BrokenResourceError):
                await stream.receive_some(1)  # it hangs up once it has passed the wish on
        finally:
            socket_of(stream).close()

    def is_silent(self) -> bool:
        """Whether there is nothing to read, not even an end."""
        return not self._ear.poll(0)

    async def _talk_until(self, done: Callable[[], bool]) -> None:
        while True:
            if self._out:
                data, self._out = self._out, bytearray()
                await self._send(data)
            if done():
                return
            received = await self._receive()
            if not received:
                raise trio.BrokenResourceError("the server closed the connection")
            self._protocol.data_received(received)

    async def _send(self, data: bytearray) -> None:
        """Send all of *data*. The usual query goes out at once, without a turn of Trio's loop for it."""
        sent = 0
        if self._plain:
            try:
                sent = os.write(self._socket.fileno(), data)
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
        if sent < len(data):
            await self._stream.send_all(data[sent:])

    async def _receive(self) -> bytes | bytearray:
        """Received bytes. A server answers only when asked: waiting first spares a read in vain."""
        if not self._plain:
            return await self._stream.receive_some(READ_SIZE)
        while self._socket.fileno() >= 0:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return os.read(self._socket.fileno(), READ_SIZE)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
        raise trio.ClosedResourceError

    def _lose(self, error: Exception) -> None:
        self._protocol.connection_lost(error)
        self.abort()

    async def _break_off(self) -> None:
        """End a conversation in the middle. Its query must not run on at the server and hold its locks."""
        logged_in = self._protocol.is_connected()
        self._protocol.connection_lost(None)
        try:
            if logged_in:
                with trio.move_on_after(CLEANUP_PATIENCE, shield=True):
                    with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                        await self._see_it_dropped()
        finally:
            self.abort()

    async def _see_it_dropped(self) -> None:
        """Cancel until the server hangs up: a cancellation may overtake the query that it is meant for."""
        self._socket.shutdown(socket.SHUT_WR)
        while True:
            await self.cancel_query()
            with trio.move_on_after(CANCEL_AGAIN):
                while await self._socket.recv(READ_SIZE):
                    pass
                return

    # What asyncpg calls on its transport.

    def write(self, data: memoryview) -> None:
        self._out += data

    def abort(self) -> None:
        self._socket.close()

    def get_extra_info(self, name: str) -> None:
        """Nothing: the socket was set up where it was opened."""

    # What asyncpg calls on its event loop.

    def create_future(self) -> Waiter:
        return Waiter(self)

    def call_soon(self, callback: Callable[..., None], *args: object) -> None:
        callback(*args)  # a listener's callback, which must not raise

    def call_later(self, delay: float, callback: object, *args: object) -> NoReturn:
        self.abort()  # asyncpg takes its query for begun, and it will never end
        raise RuntimeError("deadlines are Trio's scopes, not asyncpg's timeout=")

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return True  # a forgotten connection's finalizer may run outside of Trio, and must not close it there
